import { escapeIdentifier } from 'pg';
import {
  CommitUnknownError,
  FencedError,
  LedgerUnreachableError,
  ParkingFullError,
} from '../errors/errors.js';
import type {
  DueHead,
  DueHeads,
  LedgerParking,
  LetterOrder,
  NewSequence,
  ParkedFilter,
  ParkedHead,
  Postponement,
} from '../execution/ledger-parking.js';
import type { Lane } from '../execution/ledger.js';
import { unpackHeaders } from '../messages/header-packing.js';
import { fencedMessage } from './claim-lane.js';
import { COMMIT } from './ledger-pool.js';
import { byteaArray, plainArray, storableText, textArray, type Parameter } from './parameters.js';
import { lanePosition, lettersAdded } from './parking-work.js';
import type { OpenLedger } from './postgres-failures.js';
import type { Row } from './result-types.js';
import type { Call, Session } from './session.js';
import { STATE_NUMBERS, type Statement, type Statements } from './statements.js';

/** Where something is parked, and for people: not prepared. */
function createStatements(schema: string) {
  const s = escapeIdentifier(schema);
  const statement = (text: string): Statement => ({ text });
  const time = (column: string) => `(extract(epoch from ${column}) * 1000)::bigint`;
  const inPartition = `s.consumer_group = $1::text and h.topic = $2::text and h.partition = $3::int`;
  const fits = `($1::text is null or s.consumer_group = $1::text) and ($2::text is null or s.handler = $2::text)
         and ($3::text is null or h.topic = $3::text) and ($4::bigint is null or h.id = $4::bigint)`;
  const letters = (alias: string) =>
    `select record_offset from ${s}.parked_letter l where l.scope_id = ${alias}.scope_id and l.topic_id = ${alias}.topic_id
       and l.partition = ${alias}.partition and l.sequence = ${alias}.sequence order by record_offset`;
  return {
    partitions: statement(
      `select distinct w.position from ${s}.parked_head h
       join ${s}.scope s on s.id = h.scope_id
       join unnest($2::text[], $3::int[]) with ordinality as w (topic, partition, position)
         on w.topic = h.topic and w.partition = h.partition
       where s.consumer_group = $1::text`,
    ),
    due: statement(
      `select s.handler, h.topic_id, h.sequence, h.failures, h.retries,
         ${time('clock_timestamp() - h.first_failed_at')} as age,
         case when l.record_offset <= h.order_until then h.order_state end as order_state, h.order_reason,
         l.record_offset, l.record_timestamp, l.record_key, l.record_value, l.headers
       from (
         select h.* from ${s}.parked_head h join ${s}.scope s on s.id = h.scope_id
         where ${inPartition} and not h.held and h.due_at <= clock_timestamp()
         order by h.due_at limit $4::int
       ) h
       join ${s}.scope s on s.id = h.scope_id
       cross join lateral (
         select * from ${s}.parked_letter l
         where l.scope_id = h.scope_id and l.topic_id = h.topic_id and l.partition = h.partition
           and l.sequence = h.sequence
         order by l.record_offset limit 1
       ) l
       order by h.due_at`,
    ),
    waiting: statement(
      `select count(*) as sequences,
         ${time('min(h.due_at) filter (where not h.held) - clock_timestamp()')} as next
       from ${s}.parked_head h join ${s}.scope s on s.id = h.scope_id where ${inPartition}`,
    ),
    postpone: statement(
      `update ${s}.parked_head h
       set retries = retries + 1, failures = $7::int, error_name = $8::text, error_message = $9::text,
         held = $10::bigint is null,
         due_at = clock_timestamp() + coalesce($10::bigint, 0) * interval '1 millisecond',
         first_failed_at = coalesce(first_failed_at, clock_timestamp())
       where scope_id = $1::int and topic_id = $2::uuid and partition = $3::int and sequence = $4::bytea
         and retries = $6::int and $5::bigint = (${letters('h')} limit 1)`,
    ),
    list: statement(
      `select h.id, s.consumer_group, s.handler, h.topic, h.topic_id, h.partition, l.record_offset, l.record_key, h.letters,
         h.failures, h.retries, h.held, ${time('h.due_at')} as due_at, ${time('h.parked_at')} as parked_at,
         h.error_name, h.error_message
       from ${s}.parked_head h
       join ${s}.scope s on s.id = h.scope_id
       cross join lateral (
         select record_offset, record_key from ${s}.parked_letter l
         where l.scope_id = h.scope_id and l.topic_id = h.topic_id and l.partition = h.partition
           and l.sequence = h.sequence
         order by l.record_offset limit 1
       ) l
       where ${fits} and h.id > $5::bigint order by h.id limit $6::int`,
    ),
    retry: statement(
      `update ${s}.parked_head set due_at = clock_timestamp(), held = false, retries = 0
       where id in (
         select h.id from ${s}.parked_head h join ${s}.scope s on s.id = h.scope_id
         where ${fits}
         order by h.id for update of h)`,
    ),
    order: statement(
      `update ${s}.parked_head h set order_state = $2::smallint, order_reason = $3::text, held = false,
         due_at = clock_timestamp(),
         order_until = case when $4::boolean
           then (select max(record_offset) from (${letters('h')}) all_of_it) else (${letters('h')} limit 1) end
       where id = $1::bigint`,
    ),
  };
}

/** Parked records in Postgres. */
export class PostgresParking implements LedgerParking {
  private readonly own: ReturnType<typeof createStatements>;

  constructor(
    schema: string,
    private readonly statements: Statements,
    private readonly opened: () => OpenLedger,
  ) {
    this.own = createStatements(schema);
  }

  async park(sequence: NewSequence): Promise<void> {
    const { pool, scopes } = this.opened();
    const position = await lanePosition(sequence.fence.lane, scopes);
    await pool.use(async (session) => {
      try {
        await this.begin(session, sequence, position);
        const ended = await session.batch([
          ...lettersAdded([sequence.letter], position, this.statements),
          COMMIT,
        ]);
        if (ended.error === undefined && ended.command === 'COMMIT') return;
        if (session.broken && ended.lastSent) throw new CommitUnknownError({ cause: ended.error });
        throw ended.error ?? new LedgerUnreachableError('Postgres rolled back instead of committing');
      } catch (error) {
        await session.rollback();
        throw error;
      }
    });
  }

  async partitionsOf<P extends { readonly topic: string; readonly partition: number }>(
    group: string,
    partitions: readonly P[],
  ): Promise<P[]> {
    if (partitions.length === 0) return [];
    const topics = textArray(partitions.map(({ topic }) => topic));
    const numbers = plainArray(partitions.map(({ partition }) => partition));
    const rows = await this.opened().pool.run(this.own.partitions, [group, topics, numbers]);
    return rows.map((row) => partitions[Number(row['position']) - 1]!);
  }

  async due(group: string, topic: string, partition: number, limit: number): Promise<DueHeads> {
    const place = [group, topic, partition];
    return this.opened().pool.use(async (session) => {
      const { rows, error } = await session.batch([
        [this.own.due, [...place, limit]],
        [this.own.waiting, place],
      ]);
      if (error !== undefined) throw error;
      const [waiting] = rows[1]!;
      const next = waiting!['next'];
      return {
        heads: rows[0]!.map((row) => dueHead(row, group, topic, partition)),
        sequences: Number(waiting!['sequences']),
        next: next === null ? undefined : Number(next),
      };
    });
  }

  async postpone(lane: Lane, postponement: Postponement): Promise<void> {
    const { pool, scopes } = this.opened();
    const { sequence, offset, retries, failures, error, retryAfter } = postponement;
    await pool.run(this.own.postpone, [
      ...(await lanePosition(lane, scopes)),
      sequence,
      String(offset),
      retries,
      failures,
      storableText(error.name),
      storableText(error.message),
      retryAfter,
    ]);
  }

  async list(filter: ParkedFilter, limit: number, after: string | undefined): Promise<ParkedHead[]> {
    const rows = await this.opened().pool.run(this.own.list, [...filterValues(filter), after ?? '0', limit]);
    return rows.map(parkedHead);
  }

  async retry(filter: ParkedFilter): Promise<number> {
    return this.change([this.own.retry, filterValues(filter)]);
  }

  async order(id: string, { state, reason }: LetterOrder, all: boolean): Promise<boolean> {
    const values = [id, STATE_NUMBERS[state], storableText(reason), String(all)];
    return (await this.change([this.own.order, values])) === 1;
  }

  /** With the fence held, or the lane shared, and the sequence made. */
  private async begin(
    session: Session,
    { fence, isShared, letter, failures, age, error, retryAfter, maxSequences }: NewSequence,
    position: readonly Parameter[],
  ): Promise<void> {
    const { pool } = this.opened();
    const { lane, epoch } = fence;
    const { statements } = this;
    const calls: Call[] = [pool.begin()];
    if (isShared) {
      calls.push([statements.shareLane, [statements.laneLock(Number(position[0]), lane)]]);
      const none = byteaArray([]);
      calls.push([statements.claimShared, [...position, String(epoch), null, none, '{}', '{}']]);
    } else {
      calls.push([statements.moveFence, [...position, String(epoch), String(letter.offset + 1n)]]);
    }
    calls.push([
      statements.parkHead,
      [
        ...position,
        letter.sequence,
        maxSequences,
        lane.topic,
        failures,
        Math.round(age),
        storableText(error.name),
        storableText(error.message),
        Math.round(retryAfter),
      ],
    ]);
    const begun = await session.batch(calls);
    if (begun.error !== undefined) throw begun.error;
    if (begun.rows.at(-2)![0]!['held'] !== '1') throw new FencedError(fencedMessage(lane, epoch));
    if (begun.rows.at(-1)![0]!['crowded'] !== '0')
      throw new ParkingFullError(crowdedMessage(lane, maxSequences));
  }

  private async change(call: Call): Promise<number> {
    const { rowCounts } = await this.opened().pool.transaction([call]);
    return rowCounts[1]!;
  }
}

export function crowdedMessage({ scope, topic, partition }: Lane, maxSequences: number): string {
  return (
    `${topic}[${partition}] waits: ${maxSequences} sequences are parked for ${scope.handler} in group "${scope.group}" ` +
    '(parking.maxSequences). Mend what they fail of, or have some skipped or dropped by DurableLedger.'
  );
}

function filterValues({ group, handler, topic, id }: ParkedFilter): Parameter[] {
  return [group ?? null, handler ?? null, topic ?? null, id ?? null];
}

function dueHead(row: Row, group: string, topic: string, partition: number): DueHead {
  const orderState = row['order_state'];
  return {
    lane: {
      scope: { group, handler: String(row['handler']) },
      topic,
      topicId: String(row['topic_id']),
      partition,
    },
    sequence: row['sequence'] as Buffer,
    offset: BigInt(String(row['record_offset'])),
    timestamp: Number(row['record_timestamp']),
    key: row['record_key'] as Buffer | null,
    value: row['record_value'] as Buffer | null,
    headers: unpackHeaders(row['headers'] as Buffer),
    failures: Number(row['failures']),
    retries: Number(row['retries']),
    age: row['age'] === null ? undefined : Number(row['age']),
    order:
      orderState === null
        ? undefined
        : {
            state: Number(orderState) === STATE_NUMBERS.dead ? 'dead' : 'skipped',
            reason: String(row['order_reason']),
          },
  };
}

function parkedHead(row: Row): ParkedHead {
  const errorName = row['error_name'];
  const isHeld = row['held'] === 't';
  return {
    id: String(row['id']),
    scope: { group: String(row['consumer_group']), handler: String(row['handler']) },
    topic: String(row['topic']),
    topicId: String(row['topic_id']),
    partition: Number(row['partition']),
    offset: BigInt(String(row['record_offset'])),
    recordKey: row['record_key'] as Buffer | null,
    letters: Number(row['letters']),
    failures: Number(row['failures']),
    retries: Number(row['retries']),
    state: isHeld ? 'held' : 'waiting',
    nextRetry: isHeld ? undefined : Number(row['due_at']),
    parkedAt: Number(row['parked_at']),
    error:
      errorName === null ? undefined : { name: String(errorName), message: String(row['error_message']) },
  };
}
