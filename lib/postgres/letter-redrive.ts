import { escapeIdentifier } from 'pg';
import type { FoundLetter, LetterVerdict } from '../execution/ledger-redrive.js';
import { byteaArray, plainArray, textArray, type Parameter } from './parameters.js';
import type { Row } from './result-types.js';
import type { Session } from './session.js';
import type { Statement } from './statements.js';
import { STATE_NUMBERS } from './stored-values.js';

export interface LetterStatements {
  readonly find: Statement;
  readonly note: Statement;
}

/** What the ledger knows of letters found in a topic, and how it notes that they were dealt with. */
export function createLetterStatements(schema: string): LetterStatements {
  const s = escapeIdentifier(schema);
  const wanted = `select *
         from unnest($1::int[], $2::text[], $3::int[], $4::bigint[], $5::bigint[])
           with ordinality as w (scope_id, topic, partition, record_offset, record_timestamp, n)`;
  return {
    // By place where the ledger has the letter too, by key where its message has been dealt with otherwise.
    find: {
      text: `with wanted as (${wanted}), known as (
         select w.n, d.scope_id, d.key, true as is_letter
         from wanted w join ${s}.dead_letter d using (scope_id, topic, partition, record_offset, record_timestamp)
         union all
         select w.n, w.scope_id, k.key, false
         from wanted w join unnest($6::bigint[], $7::bytea[]) as k (n, key) using (n)
       )
       select k.n, k.is_letter, e.scope_id, e.key, e.state, exists (
           select 1 from ${s}.fence f
           where f.scope_id = e.scope_id and f.topic_id = e.topic_id and f.partition = e.partition
             and f.next_offset > e.record_offset)::int as is_covered
       from known k join ${s}.execution e on e.scope_id = k.scope_id and e.key = k.key
       order by e.scope_id, e.key
       for update of e`,
    },
    // Who comes second waits for how the first one's transaction ends.
    note: {
      text: `with noted as (
         insert into ${s}.redriven (scope_id, topic, partition, record_offset, record_timestamp)
         select scope_id, topic, partition, record_offset, record_timestamp from (${wanted}) w
         order by 1, 2, 3, 4, 5
         on conflict do nothing
         returning scope_id, topic, partition, record_offset, record_timestamp
       )
       select w.n from (${wanted}) w
       join noted using (scope_id, topic, partition, record_offset, record_timestamp)`,
    },
  };
}

export interface DecidedLetters {
  readonly verdicts: readonly LetterVerdict[];
  /** Dead executions to be taken back, as rows with `scope_id` and `key`. */
  readonly taken: readonly Row[];
}

/** Decides within a transaction, which then holds the rows that it was decided by, and notes what is dealt with. */
export async function decideLetters(
  session: Session,
  statements: LetterStatements,
  letters: readonly FoundLetter[],
  scopeIds: readonly number[],
): Promise<DecidedLetters> {
  const all = letters.map((_, index) => index);
  const keyed = all.filter((index) => letters[index]!.key !== undefined);
  const rows = await session.run(statements.find, [
    ...places(letters, scopeIds, all),
    plainArray(keyed.map((index) => index + 1)),
    byteaArray(keyed.map((index) => letters[index]!.key!)),
  ]);
  const known = new Map<number, Row[]>();
  for (const row of rows) {
    const index = Number(row['n']) - 1;
    const others = known.get(index);
    if (others) others.push(row);
    else known.set(index, [row]);
  }
  const found = all.map((index) => judge(known.get(index) ?? []));
  const settled = all.filter((index) => found[index] !== 'early');
  const noted = await session.run(statements.note, places(letters, scopeIds, settled));
  // A letter that was produced twice is there twice, and one letter all the same.
  const names = letters.map((letter, index) => placeName(letter, scopeIds[index]!));
  const isNew = new Set(noted.map((row) => names[settled[Number(row['n']) - 1]!]));
  const seen = new Set<string>();
  const taken: Row[] = [];
  const verdicts = found.map((verdict, index): LetterVerdict => {
    if (verdict === 'early') return 'early';
    const isOnce = !seen.has(names[index]!);
    seen.add(names[index]!);
    if (verdict === 'done' || !isOnce) return 'done';
    if (verdict === 'gone') return isNew.has(names[index]!) ? 'redriven' : 'done';
    taken.push(verdict);
    return 'redriven';
  });
  return { verdicts, taken };
}

/** What its executions say about a letter: the dead one that it is about, or what became of its message. */
function judge(executions: readonly Row[]): Row | 'gone' | 'done' | 'early' {
  const dead = executions.find((row) => row['is_letter'] === 't' && isState(row, 'dead'));
  if (dead) return dead['is_covered'] === '1' ? dead : 'early';
  if (executions.length === 0) return 'gone';
  return executions.some((row) => isState(row, 'claimed')) ? 'early' : 'done';
}

function isState(row: Row, state: keyof typeof STATE_NUMBERS): boolean {
  return Number(row['state']) === STATE_NUMBERS[state];
}

function placeName({ topic, partition, offset, timestamp }: FoundLetter, scopeId: number): string {
  return `${scopeId} ${topic} ${partition} ${offset} ${timestamp}`;
}

function places(
  letters: readonly FoundLetter[],
  scopeIds: readonly number[],
  which: readonly number[],
): Parameter[] {
  const chosen = which.map((index) => letters[index]!);
  return [
    plainArray(which.map((index) => scopeIds[index]!)),
    textArray(chosen.map(({ topic }) => topic)),
    plainArray(chosen.map(({ partition }) => partition)),
    plainArray(chosen.map(({ offset }) => offset)),
    plainArray(chosen.map(({ timestamp }) => timestamp)),
  ];
}
