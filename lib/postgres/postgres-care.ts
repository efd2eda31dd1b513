import type {
  LedgerCare,
  PruneResult,
  Retention,
  SweepBounds,
  SweepResult,
} from '../execution/ledger-care.js';
import type { OutboxRecord } from '../execution/ledger.js';
import { createCareStatements, type CareStatements } from './care-statements.js';
import { outboxRecord } from './group-work.js';
import { COMMIT, type LedgerPool } from './ledger-pool.js';
import { plainArray } from './parameters.js';
import type { Session } from './session.js';

const IDLE: SweepResult = { produced: 0, next: undefined };

/** Keeps the tables in order; an advisory lock sees to it that one process at a time works. */
export class PostgresCare implements LedgerCare {
  private readonly statements: CareStatements;

  /** @param pool asked for at each call: there is none before the ledger is open. */
  constructor(
    private readonly schema: string,
    private readonly owner: string,
    private readonly pool: () => LedgerPool,
  ) {
    this.statements = createCareStatements(schema);
  }

  async beat(): Promise<void> {
    await this.pool().run(this.statements.beat, [this.owner]);
  }

  /** The lanes of this process are free from now on. */
  async leave(): Promise<void> {
    await this.pool().run(this.statements.leave, [this.owner]);
  }

  async sweep(
    bounds: SweepBounds,
    after: bigint,
    produce: (records: readonly OutboxRecord[]) => Promise<readonly string[]>,
  ): Promise<SweepResult> {
    const { settled, abandoned, silence, limit } = bounds;
    const result = await this.alone('sweep', async (session) => {
      const rows = await session.run(this.statements.sweep, [
        String(after),
        settled,
        abandoned,
        silence,
        limit,
      ]);
      if (rows.length === 0) return IDLE;
      const ids = await produce(rows.map(outboxRecord));
      if (ids.length > 0) await session.run(this.statements.forgetOutbox, [plainArray(ids)]);
      const last = rows[rows.length - 1]!;
      const next = rows.length === limit ? BigInt(String(last['seq'])) : undefined;
      return { produced: ids.length, next };
    });
    return result ?? IDLE;
  }

  async prune({ keys, messageIds }: Retention, limit: number): Promise<PruneResult> {
    const result = await this.alone('prune', async (session) => {
      await session.run(this.statements.forgetMembers, []);
      await session.run(this.statements.forgetInstances, []);
      await session.run(this.statements.forgetRetries, [keys]);
      const executions = await session.run(this.statements.pruneExecutions, [keys, messageIds, limit]);
      const replies = await session.run(this.statements.pruneReplies, [messageIds, limit]);
      const claims = await session.run(this.statements.pruneClaims, [keys, messageIds, limit]);
      const counts = [executions[0]!, replies[0]!, claims[0]!];
      return {
        deleted: counts.reduce((sum, row) => sum + Number(row['deleted']), 0),
        more: counts.some((row) => Number(row['seen']) === limit),
      };
    });
    return result ?? { deleted: 0, more: false };
  }

  /** In a transaction of its own; resolves with `undefined` if another process is at the same task. */
  private async alone<T>(task: string, work: (session: Session) => Promise<T>): Promise<T | undefined> {
    const pool = this.pool();
    return pool.use(async (session) => {
      try {
        const lock = [`nestjs-durable-kafka/${task}/${this.schema}`];
        const locked = await session.batch([pool.begin(), [this.statements.lock, lock]]);
        if (locked.error !== undefined) throw locked.error;
        const result = locked.rows[1]![0]!['locked'] === 't' ? await work(session) : undefined;
        const ended = await session.batch([COMMIT]);
        if (ended.error !== undefined) throw ended.error;
        return result;
      } catch (error) {
        await session.rollback();
        throw error;
      }
    });
  }
}
