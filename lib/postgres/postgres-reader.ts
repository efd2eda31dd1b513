import { WrongCallOrderError } from '../errors/errors.js';
import type { ExecutionState, Scope } from '../execution/ledger.js';
import type {
  ExecutionFilter,
  ExecutionInWork,
  ExecutionPage,
  LedgerExecution,
  LedgerReader,
  OutboxLag,
  ScopeCounts,
} from '../execution/ledger-reader.js';
import { describeKey } from '../messages/idempotency-key.js';
import { stateOf } from './known-execution.js';
import type { LedgerPool } from './ledger-pool.js';
import { byteaArray } from './parameters.js';
import { createReaderStatements, type ReaderStatements } from './reader-statements.js';
import type { Row } from './result-types.js';
import { STATE_NUMBERS } from './stored-values.js';

type PageKey = readonly [finishedAt: string, scopeId: number, key: string];

/** Answers people's questions about the ledger, each in one statement. */
export class PostgresReader implements LedgerReader {
  private readonly statements: ReaderStatements;

  /** @param pool asked for at each call: there is none before the ledger is open. */
  constructor(
    schema: string,
    private readonly pool: () => LedgerPool,
  ) {
    this.statements = createReaderStatements(schema);
  }

  async find(keys: readonly Buffer[], { group, handler }: Partial<Scope>): Promise<LedgerExecution[]> {
    const values = [group ?? null, handler ?? null, byteaArray(keys)];
    return (await this.pool().run(this.statements.find, values)).map(execution);
  }

  async list(filter: ExecutionFilter, limit: number, after: string | undefined): Promise<ExecutionPage> {
    const { group, handler, state, since, until } = filter;
    const [finishedAt, scopeId, key] = after === undefined ? [null, null, null] : pageKey(after);
    const rows = await this.pool().run(this.listing(state), [
      group ?? null,
      handler ?? null,
      state === undefined ? null : STATE_NUMBERS[state],
      since === undefined ? null : `${Math.ceil(since)}000`,
      until === undefined ? null : `${Math.ceil(until)}000`,
      finishedAt,
      scopeId,
      key === null ? null : Buffer.from(key, 'hex'),
      // One more than asked for tells whether there are more.
      limit + 1,
    ]);
    const page = rows.slice(0, limit);
    return {
      executions: page.map(execution),
      next: rows.length > limit ? cursor(page[page.length - 1]!) : undefined,
    };
  }

  /** Few are not completed: those are found by what only they have. */
  private listing(state: ExecutionState | undefined) {
    if (state === undefined || state === 'completed') return this.statements.list;
    return state === 'claimed' ? this.statements.listClaimed : this.statements.listUnsuccessful;
  }

  async counts({ group, handler }: Partial<Scope>): Promise<ScopeCounts[]> {
    const rows = await this.pool().run(this.statements.counts, [group ?? null, handler ?? null]);
    const counts = new Map<string, ScopeCounts & Record<ExecutionState, number>>();
    for (const row of rows) {
      const scope = { group: String(row['consumer_group']), handler: String(row['handler']) };
      const name = JSON.stringify([scope.group, scope.handler]);
      let count = counts.get(name);
      if (!count)
        counts.set(name, (count = { ...scope, completed: 0, failed: 0, dead: 0, skipped: 0, claimed: 0 }));
      count[stateOf(row['state'])] = Number(row['n']);
    }
    return [...counts.values()];
  }

  async inWork({ group, handler }: Partial<Scope>, limit: number): Promise<ExecutionInWork[]> {
    const rows = await this.pool().run(this.statements.inWork, [group ?? null, handler ?? null, limit]);
    return rows.map((row) => ({
      group: row['consumer_group'] as string,
      handler: row['handler'] as string,
      key: describeKey(row['key'] as Buffer),
      topic: row['topic'] as string | null,
      topicId: row['topic_id'] as string,
      partition: Number(row['partition']),
      offset: BigInt(row['record_offset'] as string),
      instance: row['instance'] as string,
      held: row['held'] === 't',
      leaseUntil: millis(row['lease_until']),
      claimedAt: millis(row['claimed_at']),
      takeovers: Number(row['takeovers']),
    }));
  }

  async outboxLag(): Promise<OutboxLag> {
    const [row] = await this.pool().run(this.statements.outboxLag, []);
    if (row === undefined) return { records: 0, age: 0, oldest: undefined };
    const { id, topic } = row as Record<string, string>;
    return {
      records: Number(row['records']),
      age: millis(row['age']),
      oldest: { id: id!, topic: topic!, createdAt: millis(row['created_at']) },
    };
  }
}

function execution(row: Row): LedgerExecution {
  const { consumer_group, handler, error_name, error_message, reason, topic, topic_id } = row as Record<
    string,
    string
  >;
  return {
    group: consumer_group!,
    handler: handler!,
    key: describeKey(row['key'] as Buffer),
    state: stateOf(row['state']),
    attempts: Number(row['attempts']),
    error: row['error_name'] === null ? null : { name: error_name!, message: error_message! },
    reason: reason ?? null,
    topic: topic ?? null,
    topicId: topic_id!,
    partition: Number(row['partition']),
    offset: BigInt(row['record_offset'] as string),
    finishedAt: millis(row['finished_at']),
  };
}

/** Milliseconds of microseconds. */
function millis(micros: unknown): number {
  return Math.floor(Number(micros) / 1000);
}

function cursor(row: Row): string {
  const key: PageKey = [
    String(row['finished_at']),
    Number(row['scope_id']),
    (row['key'] as Buffer).toString('hex'),
  ];
  return Buffer.from(JSON.stringify(key)).toString('base64url');
}

function pageKey(after: string): PageKey {
  try {
    const [finishedAt, scopeId, key] = JSON.parse(
      Buffer.from(after, 'base64url').toString('utf8'),
    ) as unknown[];
    if (/^\d+$/.test(String(finishedAt)) && Number.isInteger(scopeId) && /^[0-9a-f]*$/.test(String(key))) {
      return [String(finishedAt), Number(scopeId), String(key)];
    }
  } catch {
    // What follows says it.
  }
  throw new WrongCallOrderError('"after" must be the "next" of an earlier page of the same list');
}
