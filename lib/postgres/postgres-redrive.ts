import { escapeIdentifier } from 'pg';
import { WrongCallOrderError } from '../errors/errors.js';
import type {
  DeadCount,
  DeadExecution,
  DeadFilter,
  FoundLetter,
  LedgerRedrive,
  LetterVerdict,
  RedriveResult,
} from '../execution/ledger-redrive.js';
import type { OutboxRecord } from '../execution/ledger.js';
import { unpackHeaders } from '../messages/header-packing.js';
import { storeOutbox } from './group-work.js';
import { COMMIT } from './ledger-pool.js';
import { byteaArray, plainArray, type Parameter } from './parameters.js';
import { createLetterStatements, decideLetters, type LetterStatements } from './letter-redrive.js';
import type { OpenLedger } from './postgres-failures.js';
import type { Row } from './result-types.js';
import type { Call } from './session.js';
import type { Statement, Statements } from './statements.js';
import { STATE_NUMBERS } from './stored-values.js';

/** People's requests: rare, and planned best with their values in sight, so not prepared. */
function createRedriveStatements(schema: string): Record<'count' | 'find' | 'takeBack', Statement> {
  const s = escapeIdentifier(schema);
  const time = (parameter: string) => `timestamptz 'epoch' + ${parameter}::bigint * interval '1 microsecond'`;
  const dead = `${s}.dead_letter d
       join ${s}.execution e on e.scope_id = d.scope_id and e.key = d.key and e.state = ${STATE_NUMBERS.dead}
       join ${s}.scope c on c.id = d.scope_id
       left join ${s}.failure f on f.scope_id = d.scope_id and f.key = d.key`;
  const fits = `($1::text is null or c.consumer_group = $1::text)
         and ($2::text is null or c.handler = $2::text)
         and ($3::text is null or d.topic = $3::text)
         and ($4::text is null or d.reason = $4::text)
         and ($5::text is null or f.error_name = $5::text)
         and ($6::bytea[] is null or d.key = any ($6::bytea[]))
         and ($7::bigint is null or d.died_at >= ${time('$7')})
         and ($8::bigint is null or d.died_at < ${time('$8')})`;
  return {
    count: {
      text: `select c.consumer_group, c.handler, d.topic, d.reason, f.error_name, count(*) as records
       from ${dead}
       where ${fits}
       group by 1, 2, 3, 4, 5
       order by records desc, 1, 2, 3, 4, 5`,
    },
    find: {
      text: `select c.consumer_group, c.handler, d.scope_id, d.key, d.topic, d.topic_id, d.partition, d.record_offset,
         d.record_key, d.record_value, d.headers, (extract(epoch from d.died_at) * 1000000)::bigint as died_at
       from ${dead}
       where ${fits}
         and exists (
           select 1 from ${s}.fence l
           where l.scope_id = d.scope_id and l.topic_id = d.topic_id and l.partition = d.partition
             and l.next_offset > d.record_offset)
         and ($9::bigint is null or (d.died_at, d.scope_id, d.key) > (${time('$9')}, $10::int, $11::bytea))
       order by d.died_at, d.scope_id, d.key
       limit $12::int
       for update of e skip locked`,
    },
    takeBack: {
      text: `with back as (
         delete from ${s}.execution e using unnest($1::int[], $2::bytea[]) as w (scope_id, key)
         where e.scope_id = w.scope_id and e.key = w.key
         returning e.scope_id, e.key
       ), letters as (
         delete from ${s}.dead_letter d using back where d.scope_id = back.scope_id and d.key = back.key
         returning d.scope_id, d.topic, d.partition, d.record_offset, d.record_timestamp
       ), noted as (
         insert into ${s}.redriven (scope_id, topic, partition, record_offset, record_timestamp)
         select * from letters
         on conflict do nothing
       )
       delete from ${s}.failure f using back where f.scope_id = back.scope_id and f.key = back.key`,
    },
  };
}

export class PostgresRedrive implements LedgerRedrive {
  private readonly statements: ReturnType<typeof createRedriveStatements>;
  private readonly letters: LetterStatements;

  constructor(
    schema: string,
    private readonly daily: Statements,
    private readonly opened: () => OpenLedger,
  ) {
    this.statements = createRedriveStatements(schema);
    this.letters = createLetterStatements(schema);
  }

  async count(filter: DeadFilter): Promise<DeadCount[]> {
    const rows = await this.opened().pool.run(this.statements.count, filterValues(filter));
    return rows.map((row) => ({
      group: String(row['consumer_group']),
      handler: String(row['handler']),
      topic: String(row['topic']),
      reason: String(row['reason']),
      errorClass: row['error_name'] === null ? null : String(row['error_name']),
      records: Number(row['records']),
    }));
  }

  async redrive(
    filter: DeadFilter,
    limit: number,
    after: string | undefined,
    recordOf: (dead: DeadExecution) => OutboxRecord | undefined,
  ): Promise<RedriveResult> {
    const { pool, scopes } = this.opened();
    const values = [
      ...filterValues(filter),
      ...(after === undefined ? [null, null, null] : cursor(after)),
      limit,
    ];
    return pool.use(async (session) => {
      try {
        const found = await session.batch([pool.begin(), [this.statements.find, values]]);
        if (found.error !== undefined) throw found.error;
        const rows = found.rows[1]!;
        const taken = rows.flatMap((row) => {
          const dead = deadExecution(row);
          const record = recordOf(dead);
          return record ? [{ row, dead, record }] : [];
        });
        const outbox = taken.map(({ record }) => ({ lane: null, record }));
        const ended = await session.batch([
          this.takingBack(taken.map(({ row }) => row)),
          ...(await storeOutbox(outbox, this.daily, scopes)),
          COMMIT,
        ]);
        if (ended.error !== undefined) throw ended.error;
        const last = rows.length === limit ? rows[rows.length - 1] : undefined;
        return {
          redriven: taken.map(({ dead, record }) => ({ dead, record })),
          left: rows.length - taken.length,
          next: last && cursorOf(last),
        };
      } catch (error) {
        await session.rollback();
        throw error;
      }
    });
  }

  async redriveLetters(letters: readonly FoundLetter[], dryRun: boolean): Promise<LetterVerdict[]> {
    const { pool, scopes } = this.opened();
    const scopeIds = await Promise.all(letters.map(({ scope }) => scopes.of(scope)));
    return pool.use(async (session) => {
      try {
        const begun = await session.batch([pool.begin()]);
        if (begun.error !== undefined) throw begun.error;
        const { verdicts, taken } = await decideLetters(session, this.letters, letters, scopeIds);
        if (dryRun) {
          await session.rollback();
          return [...verdicts];
        }
        const redriven = letters.filter((_, index) => verdicts[index] === 'redriven');
        const outbox = redriven.map(({ record }) => ({ lane: null, record }));
        const ended = await session.batch([
          this.takingBack(taken),
          ...(await storeOutbox(outbox, this.daily, scopes)),
          COMMIT,
        ]);
        if (ended.error !== undefined) throw ended.error;
        return [...verdicts];
      } catch (error) {
        await session.rollback();
        throw error;
      }
    });
  }

  private takingBack(rows: readonly Row[]): Call {
    return [
      this.statements.takeBack,
      [
        plainArray(rows.map((row) => Number(row['scope_id']))),
        byteaArray(rows.map((row) => row['key'] as Buffer)),
      ],
    ];
  }
}

function filterValues(filter: DeadFilter): Parameter[] {
  const { group, handler, topic, reason, errorClass, keys, since, until } = filter;
  return [
    group ?? null,
    handler ?? null,
    topic ?? null,
    reason ?? null,
    errorClass ?? null,
    keys === undefined ? null : byteaArray(keys),
    since === undefined ? null : `${Math.ceil(since)}000`,
    until === undefined ? null : `${Math.ceil(until)}000`,
  ];
}

function deadExecution(row: Row): DeadExecution {
  return {
    scope: { group: String(row['consumer_group']), handler: String(row['handler']) },
    key: row['key'] as Buffer,
    topic: String(row['topic']),
    topicId: String(row['topic_id']),
    partition: Number(row['partition']),
    offset: BigInt(String(row['record_offset'])),
    recordKey: row['record_key'] as Buffer | null,
    value: row['record_value'] as Buffer | null,
    headers: unpackHeaders(row['headers'] as Buffer),
  };
}

function cursorOf(row: Row): string {
  return `${String(row['died_at'])}.${String(row['scope_id'])}.${(row['key'] as Buffer).toString('hex')}`;
}

function cursor(after: string): Parameter[] {
  const [, diedAt, scopeId, key] = /^(\d+)\.(\d+)\.([0-9a-f]*)$/.exec(after) ?? [];
  if (key === undefined) throw new WrongCallOrderError('"after" must be the "next" of an earlier call');
  return [diedAt!, Number(scopeId), Buffer.from(key, 'hex')];
}
