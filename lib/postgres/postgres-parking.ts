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
  LetterPlace,
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
import { createParkedStatements, type ParkedStatements } from './parked-statements.js';
import { lanePosition, lettersAdded } from './parking-work.js';
import type { OpenLedger } from './postgres-failures.js';
import type { Row } from './result-types.js';
import type { Call, Session } from './session.js';
import type { Statements } from './statements.js';
import { STATE_NUMBERS } from './stored-values.js';

/** Parked records in Postgres. */
export class PostgresParking implements LedgerParking {
  private readonly own: ParkedStatements;

  constructor(
    schema: string,
    private readonly statements: Statements,
    private readonly opened: () => OpenLedger,
  ) {
    this.own = createParkedStatements(schema);
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

  async holds(lane: Lane, { sequence, offset }: LetterPlace): Promise<boolean> {
    const { pool, scopes } = this.opened();
    const position = await lanePosition(lane, scopes);
    return (await pool.run(this.own.holds, [...position, sequence, String(offset)])).length > 0;
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
