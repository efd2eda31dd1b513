import { FencedError, IdempotencyKeyError, KeyReusedError } from '../errors/errors.js';
import { KafkaTransportError } from '../errors/kafka-transport.error.js';
import { describeKey, fingerprint, positionKey, type IdempotencyKey } from '../messages/idempotency-key.js';
import type { KafkaRecord } from '../messages/record.js';
import type { FenceHolder, FenceRegistry } from './fence-registry.js';
import type {
  ExecutionClaim,
  Fence,
  KnownExecution,
  Lane,
  Ledger,
  LedgerTransaction,
  OutboxRecord,
} from './ledger.js';
import type { RecordedStep, StepToStore } from './step-journal.js';
import { TransactionJournal } from './transaction-journal.js';

/** One handler's part in a group: the records it may run for, in order. */
export interface LaneWork {
  readonly lane: Lane;
  readonly holder: FenceHolder;
  readonly records: readonly KafkaRecord[];
  readonly kind: (record: KafkaRecord) => 'event' | 'request';
  /** Everything below `over` has ended. @throws IdempotencyKeyError */
  readonly keyOf: (record: KafkaRecord, over?: bigint) => IdempotencyKey;
  /** It was put back for another handler: there is nothing to do for this one. */
  readonly isForOther?: (record: KafkaRecord) => boolean;
}

/** What is to be done with a record. */
export type Admission =
  | { readonly kind: 'run'; readonly execution: Execution }
  /** It was handled before; `reply` is what was answered then. */
  | { readonly kind: 'duplicate'; readonly reply: Buffer | undefined }
  /** It repeats `of`, which ran earlier in this very group. */
  | { readonly kind: 'repeated'; readonly of: KafkaRecord };

/** A record's place in the ledger, within one group. */
export interface Execution {
  readonly record: KafkaRecord;
  readonly fence: Fence;
  readonly key: IdempotencyKey;
  readonly claim: ExecutionClaim;
  /** An earlier run of it may have left steps. */
  readonly resumed: boolean;
}

/** What an execution leaves behind when its group commits. */
export interface FinishedExecution {
  readonly record: KafkaRecord;
  readonly lane: Lane;
  /** Packed replies of a request that ran. */
  readonly reply: Buffer | undefined;
  readonly outbox: readonly OutboxRecord[];
  readonly steps: readonly RecordedStep[];
}

interface Entry {
  readonly record: KafkaRecord;
  readonly execution?: Execution;
  /** Why the record cannot even be looked up. */
  readonly error?: unknown;
  /** Below the fence: whatever became of it, it is over. */
  readonly over?: boolean;
  known?: KnownExecution | undefined;
  repeats?: KafkaRecord | undefined;
  /** Handed out to be run; who comes second (one method, two patterns of one topic) repeats it. */
  running?: boolean;
}

interface PreparedLane {
  readonly work: LaneWork;
  readonly fence: Fence;
  readonly entries: Map<KafkaRecord, Entry>;
  /** The transaction has moved this lane's fence. */
  readonly claimed: boolean;
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
  ) {
    this.transaction = ledger.transaction();
  }

  /** @throws IdempotencyKeyError, KeyReusedError, FencedError, LedgerUnreachableError */
  async admit(work: LaneWork, record: KafkaRecord): Promise<Admission> {
    const { entries } = await this.prepare(work);
    const entry = entries.get(record);
    if (!entry) throw new Error('A record was admitted to a group that it does not belong to');
    if (entry.error) throw entry.error;
    if (entry.repeats) return { kind: 'repeated', of: entry.repeats };
    if (entry.over)
      return { kind: 'duplicate', reply: await this.replyOf(work, record, keysOf(work, record)) };
    if (entry.running) return { kind: 'repeated', of: record };
    const execution = entry.execution!;
    const admission: Admission = entry.known
      ? await this.resolveKnown(work, entry.known, execution)
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
        // Whether it took effect is for the ledger to say, not for what we remember.
        for (const { fence } of claimed) this.fences.forget(fence.lane);
        throw error;
      }
      for (const { lane, nextOffset } of moved) this.fences.advance(lane.fence, nextOffset);
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
      if (!entry.execution || entry.execution.key.kind === 'position') continue;
      const name = entry.execution.claim.key.toString('latin1');
      const first = firsts.get(name);
      if (first) repeat(entry, first);
      else firsts.set(name, entry);
    }
    const last = work.records[work.records.length - 1]!;
    const claimed = last.offset >= fence.nextOffset;
    const lane: PreparedLane = { work, fence, entries, claimed };
    if (claimed) await this.claim(lane, [...firsts.values()], last.offset + 1n);
    this.prepared.push(lane);
    return lane;
  }

  private async claim({ fence }: PreparedLane, entries: readonly Entry[], advanceTo: bigint): Promise<void> {
    const executions = entries.map(({ execution }) => execution!.claim);
    try {
      const verdicts = await this.transaction.claim({ fence, advanceTo, executions });
      verdicts.forEach((verdict, index) => {
        if (verdict !== 'claimed') entries[index]!.known = verdict;
      });
    } catch (error) {
      if (error instanceof FencedError) this.fences.forget(fence.lane);
      throw error;
    }
  }

  private async resolveKnown(
    work: LaneWork,
    known: KnownExecution,
    execution: Execution,
  ): Promise<Admission> {
    const { record, claim, fence } = execution;
    if (known.fingerprint !== claim.fingerprint) {
      throw new KeyReusedError(
        `The idempotency key at ${record.topic}[${record.partition}] offset ${record.offset} was used before, at ` +
          `partition ${known.partition} offset ${known.offset}, for a record with another content`,
      );
    }
    const sameRecord =
      known.topicId === work.lane.topicId &&
      known.partition === record.partition &&
      known.offset === record.offset;
    if (known.state === 'failed' && !sameRecord) {
      await this.transaction.reclaim(fence, claim);
      return { kind: 'run', execution: { ...execution, resumed: true } };
    }
    return { kind: 'duplicate', reply: await this.replyOf(work, record, [claim.key]) };
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

/** Under which a record may have ended: its position if its key was the trouble, else the key. */
function keysOf({ lane, keyOf }: LaneWork, record: KafkaRecord): Buffer[] {
  const position = positionKey(lane.topicId, record.partition, record.offset).encoded;
  try {
    return [position, keyOf(record).encoded];
  } catch (error) {
    if (error instanceof IdempotencyKeyError) return [position];
    throw error;
  }
}

function entryOf(work: LaneWork, record: KafkaRecord, fence: Fence): Entry {
  if (record.offset < fence.nextOffset || work.isForOther?.(record)) return { record, over: true };
  try {
    const key = work.keyOf(record, fence.nextOffset);
    const claim = { key: key.encoded, fingerprint: fingerprint(record), offset: record.offset };
    return { record, execution: { record, fence, key, claim, resumed: false } };
  } catch (error) {
    if (!(error instanceof KafkaTransportError)) throw error;
    return { record, error };
  }
}

function repeat(entry: Entry, first: Entry): void {
  if (entry.execution!.claim.fingerprint === first.execution!.claim.fingerprint) {
    entry.repeats = first.record;
    return;
  }
  Object.assign(entry, {
    error: new KeyReusedError(
      `The idempotency key "${describeKey(entry.execution!.claim.key).slice(0, 80)}" is used by two records with ` +
        `different contents, at offsets ${first.record.offset} and ${entry.record.offset}`,
    ),
  });
}

/** How far a lane came, and what it gives back of its claims. */
function reached({ work, fence, entries }: PreparedLane, done: ReadonlySet<KafkaRecord>) {
  const open = work.records.filter((record) => !done.has(record) && record.offset >= fence.nextOffset);
  const last = work.records[work.records.length - 1]!;
  if (open.length === 0) return { nextOffset: last.offset + 1n, release: undefined };
  const nextOffset = open[0]!.offset;
  const keys = open.flatMap((record) => {
    const { execution, known, repeats, error } = entries.get(record)!;
    // The key of a repetition, or of a reuse, is the first one's: giving it back would undo that one.
    const own = execution && execution.key.kind !== 'position' && !known && !repeats && !error;
    return own ? [execution.claim.key] : [];
  });
  return { nextOffset, release: { fence, keys, nextOffset } };
}
