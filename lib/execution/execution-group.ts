import { CommitUnknownError, FencedError, KeyReusedError } from '../errors/errors.js';
import { positionKey } from '../messages/idempotency-key.js';
import type { KafkaRecord } from '../messages/record.js';
import type { FenceRegistry } from './fence-registry.js';
import {
  endOf,
  entryOf,
  hasRow,
  keysOf,
  reached,
  repeat,
  type Entry,
  type Execution,
  type LaneWork,
  type PreparedLane,
} from './lane-entries.js';
import type { Fence, KnownExecution, Lane, Ledger, LedgerTransaction, OutboxRecord } from './ledger.js';
import type { RecordedStep, StepToStore } from './step-journal.js';
import { TransactionJournal } from './transaction-journal.js';

/** What is to be done with a record. */
export type Admission =
  | { readonly kind: 'run'; readonly execution: Execution }
  /** It was handled before; `reply` is what was answered then. */
  | { readonly kind: 'duplicate'; readonly reply: Buffer | undefined }
  /** It repeats `of`, which comes earlier in this very group. */
  | { readonly kind: 'repeated'; readonly of: KafkaRecord };

/** What an execution leaves behind when its group commits. */
export interface FinishedExecution {
  readonly record: KafkaRecord;
  readonly lane: Lane;
  /** Packed replies of a request that ran. */
  readonly reply: Buffer | undefined;
  readonly outbox: readonly OutboxRecord[];
  readonly steps: readonly RecordedStep[];
}

/**
 * The ledger's side of a group: claims the keys of all its records at once, tells for each whether it may run, and
 * commits what ran in one transaction with the handlers' own writes.
 */
export class ExecutionGroup {
  readonly transaction: LedgerTransaction;
  private readonly lanes = new Map<string, Promise<PreparedLane>>();
  private readonly prepared: PreparedLane[] = [];

  constructor(
    private readonly ledger: Ledger,
    private readonly fences: FenceRegistry,
    isConcurrent = false,
  ) {
    this.transaction = ledger.transaction({ isConcurrent });
  }

  /** @throws IdempotencyKeyError, KeyReusedError, FencedError, LedgerUnreachableError */
  async admit(work: LaneWork, record: KafkaRecord): Promise<Admission> {
    const { entries, fence } = await this.prepare(work);
    const entry = entries.get(record);
    if (!entry) throw new Error('A record was admitted to a group that it does not belong to');
    if (entry.error) return this.refuse(work, fence, record, entry.error);
    if (entry.repeats) return { kind: 'repeated', of: entry.repeats };
    if (entry.over)
      return { kind: 'duplicate', reply: await this.replyOf(work, record, keysOf(work, record)) };
    if (entry.running) return { kind: 'repeated', of: record };
    const execution = entry.execution!;
    const admission: Admission = entry.known
      ? await this.resolveKnown(work, record, entry.known, execution)
      : { kind: 'run', execution };
    entry.running = admission.kind === 'run';
    return admission;
  }

  /** @throws FencedError, CommitUnknownError, TransactionAbortedError, LedgerUnreachableError */
  async commit(finished: readonly FinishedExecution[]): Promise<OutboxRecord[]> {
    // Per handler: what one of them did says nothing about the others.
    const done = new Map<string, Set<KafkaRecord>>();
    for (const { lane, record } of finished) {
      const records = done.get(lane.scope.handler);
      if (records) records.add(record);
      else done.set(lane.scope.handler, new Set([record]));
    }
    const claimed = this.prepared.filter((lane) => lane.claimed);
    const moved = claimed.map((lane) => ({
      lane,
      ...reached(lane, done.get(lane.work.lane.scope.handler) ?? new Set()),
    }));
    if (claimed.length > 0) {
      try {
        await this.transaction.commit({
          releases: moved.flatMap(({ release }) => release ?? []),
          replies: finished.flatMap(({ record, lane, reply }) => {
            const key = this.executionOf(lane, record)?.claim.key;
            return reply && key ? [{ scope: lane.scope, key, body: reply }] : [];
          }),
          outbox: finished.flatMap(({ lane, outbox }) => outbox.map((record) => ({ lane, record }))),
          steps: finished.flatMap((execution) => this.stepsOf(execution)),
        });
      } catch (error) {
        this.forget(claimed, error, finished);
        throw error;
      }
      for (const { lane, nextOffset } of moved) {
        if (nextOffset !== null) this.fences.advance(lane.fence, nextOffset);
      }
    }
    return finished.flatMap(({ outbox }) => outbox);
  }

  async rollback(): Promise<void> {
    await this.transaction.rollback();
  }

  /** What a record claimed for a handler, also after a rollback; `undefined` if it has no key or was over before. */
  executionOf({ scope }: Lane, record: KafkaRecord): Execution | undefined {
    const lane = this.prepared.find(({ work }) => work.lane.scope.handler === scope.handler);
    return lane?.entries.get(record)?.execution;
  }

  /**
   * Whether a failed commit took effect is for the ledger to say, not for what we remember. Of a shared lane nothing is
   * remembered that the commit would have changed, and taking its fence would stop the groups beside this one; that is
   * only needed to have produced what it may have left in the outbox.
   */
  private forget(
    claimed: readonly PreparedLane[],
    error: unknown,
    finished: readonly FinishedExecution[],
  ): void {
    const mayHaveLeft =
      error instanceof CommitUnknownError && finished.some(({ outbox }) => outbox.length > 0);
    for (const { fence, work } of claimed) {
      if (!work.isShared || mayHaveLeft) this.fences.forget(fence);
    }
  }

  /** Where a run of an execution keeps its steps. */
  journalOf({ fence, claim, resumed }: Execution, outbox: OutboxRecord[]): TransactionJournal {
    const { scope } = fence.lane;
    return new TransactionJournal(this.transaction, outbox, async () =>
      resumed ? this.ledger.steps.find(scope, claim.key) : [],
    );
  }

  /** Nobody will ask for those of a record that is known by its position: once committed, it is below the fence. */
  private stepsOf({ lane, record, steps }: FinishedExecution): StepToStore[] {
    if (steps.length === 0) return [];
    const { key, claim } = this.executionOf(lane, record)!;
    if (key.kind === 'position') return [];
    return steps.map((step) => ({ scope: lane.scope, key: claim.key, step, token: undefined }));
  }

  private prepare(work: LaneWork): Promise<PreparedLane> {
    const name = work.lane.scope.handler;
    let prepared = this.lanes.get(name);
    if (!prepared) this.lanes.set(name, (prepared = this.prepareLane(work)));
    return prepared;
  }

  private async prepareLane(work: LaneWork): Promise<PreparedLane> {
    const fence = await this.fences.take(work.lane, work.holder);
    const entries = new Map<KafkaRecord, Entry>();
    const firsts = new Map<string, Entry>();
    for (const record of work.records) {
      const entry = entryOf(work, record, fence);
      entries.set(record, entry);
      if (!entry.execution || !hasRow(work, entry.execution)) continue;
      const name = entry.execution.claim.key.toString('latin1');
      const first = firsts.get(name);
      if (first) repeat(entry, first);
      else firsts.set(name, entry);
    }
    const claimed = work.records.some(({ offset }) => offset >= fence.nextOffset);
    const lane: PreparedLane = { work, fence, entries, claimed };
    if (claimed) await this.claim(lane, [...firsts.values()]);
    this.prepared.push(lane);
    return lane;
  }

  private async claim({ fence, work }: PreparedLane, entries: readonly Entry[]): Promise<void> {
    const executions = entries.map(({ execution }) => execution!.claim);
    const advanceTo = work.isShared ? null : endOf(work);
    try {
      const verdicts = await this.transaction.claim({ fence, advanceTo, executions });
      verdicts.forEach((verdict, index) => {
        if (verdict !== 'claimed') entries[index]!.known = verdict;
      });
    } catch (error) {
      if (error instanceof FencedError) this.fences.forget(fence);
      throw error;
    }
  }

  private async resolveKnown(
    work: LaneWork,
    record: KafkaRecord,
    known: KnownExecution,
    { claim, fence, ...execution }: Execution,
  ): Promise<Admission> {
    if (known.fingerprint !== claim.fingerprint) {
      const error = new KeyReusedError(
        `The idempotency key at ${record.topic}[${record.partition}] offset ${record.offset} was used before, at ` +
          `partition ${known.partition} offset ${known.offset}, for a record with another content`,
      );
      return this.refuse(work, fence, record, error);
    }
    const sameRecord =
      known.topicId === work.lane.topicId &&
      known.partition === record.partition &&
      known.offset === record.offset;
    if (known.state === 'failed' && !sameRecord) {
      await this.transaction.reclaim(fence, claim);
      return { kind: 'run', execution: { claim, fence, ...execution, resumed: true } };
    }
    return { kind: 'duplicate', reply: await this.replyOf(work, record, [claim.key]) };
  }

  /**
   * A record whose key is the trouble. It was given up under its position; where the fence does not tell that, the row
   * does: otherwise it would be given up, and its dead letter produced, at each delivery.
   */
  private async refuse(
    work: LaneWork,
    fence: Fence,
    record: KafkaRecord,
    error: unknown,
  ): Promise<Admission> {
    const { scope, topicId } = work.lane;
    const { encoded } = positionKey(topicId, record.partition, record.offset);
    const mayHaveRow = work.isShared || record.offset < fence.rowsBelow;
    if (!mayHaveRow || !(await this.ledger.findExecution(scope, encoded))) throw error;
    return { kind: 'duplicate', reply: await this.replyOf(work, record, [encoded]) };
  }

  /** What is stored under the first of these keys that has a reply. */
  private async replyOf(
    work: LaneWork,
    record: KafkaRecord,
    keys: readonly Buffer[],
  ): Promise<Buffer | undefined> {
    if (work.kind(record) === 'event') return undefined;
    const replies = await this.ledger.findReplies(work.lane.scope, keys);
    return keys.map((key) => replies.get(key.toString('latin1'))).find((reply) => reply !== undefined);
  }
}
