import { FencedError, IdempotencyKeyError, KeyReusedError } from '../errors/errors.js';
import { KafkaTransportError } from '../errors/kafka-transport.error.js';
import { describeKey, fingerprint, positionKey, type IdempotencyKey } from '../messages/idempotency-key.js';
import type { KafkaRecord } from '../messages/record.js';
import type { HoldVerdict } from './claims.js';
import type { FenceHolder, FenceRegistry } from './fence-registry.js';
import type { ExecutionClaim, Fence, KnownExecution, Lane, LaneClaim, Ledger } from './ledger.js';

/** One handler's part in a group: the records it may run for, in the group's order. */
export interface LaneWork {
  readonly lane: Lane;
  readonly holder: FenceHolder;
  /** Other groups are at work in the lane at the same time. */
  readonly isShared: boolean;
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
  /** It repeats `of`, which comes earlier in this very group. */
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

/** How a group gets hold of executions: in its transaction, or by claims. */
export interface Claimer {
  /** Whether records that are known by their position only are claimed too; else the fence alone does for them. */
  readonly claimsPositions: boolean;
  claim(claim: LaneClaim): Promise<readonly HoldVerdict[]>;
  /**
   * Makes an execution ours that was not when the lane was claimed.
   * @throws ExecutionInWorkError
   */
  takeOver(execution: Execution, known: KnownExecution): Promise<void>;
}

interface Entry {
  readonly record: KafkaRecord;
  execution?: Execution;
  /** Why the record cannot even be looked up. */
  readonly error?: unknown;
  /** Below the fence, or for another handler: whatever became of it, it is over. */
  readonly over?: boolean;
  known?: KnownExecution | undefined;
  repeats?: KafkaRecord | undefined;
  /** Handed out to be run; who comes second (one method, two patterns of one topic) repeats it. */
  running?: boolean;
}

export interface PreparedLane {
  readonly work: LaneWork;
  readonly fence: Fence;
  readonly entries: ReadonlyMap<KafkaRecord, Readonly<Entry>>;
  /** Something of it was claimed, and its fence is to move. */
  readonly claimed: boolean;
}

/** Claims all records of a group that a handler may run for at once, and tells for each what is to be done with it. */
export class Admissions {
  /** By handler. */
  private readonly lanes = new Map<string, PreparedLane | Promise<PreparedLane>>();
  private readonly all: PreparedLane[] = [];

  constructor(
    private readonly ledger: Ledger,
    private readonly fences: FenceRegistry,
    private readonly claimer: Claimer,
  ) {}

  /** Lanes that something was claimed in, in the order in which their handlers came. */
  get claimed(): readonly PreparedLane[] {
    return this.all.filter(({ claimed }) => claimed);
  }

  /**
   * A promise only where something has to be asked: most records of a group are decided by what its first one asked.
   * @throws IdempotencyKeyError, KeyReusedError, FencedError, LedgerUnreachableError, ExecutionInWorkError, by rejecting
   */
  admit(work: LaneWork, record: KafkaRecord): Admission | Promise<Admission> {
    const lane = this.prepare(work);
    return lane instanceof Promise
      ? lane.then((prepared) => this.decide(prepared, record))
      : this.decide(lane, record);
  }

  /** What a record claimed for a handler, also after the end; `undefined` if it has no key or was over before. */
  executionOf(lane: Lane, record: KafkaRecord): Execution | undefined {
    return this.entryOf(lane, record)?.execution;
  }

  /** The record has ended for this handler, which is known without asking. */
  isOver(lane: Lane, record: KafkaRecord): boolean {
    return this.entryOf(lane, record)?.over === true;
  }

  private entryOf({ scope }: Lane, record: KafkaRecord): Readonly<Entry> | undefined {
    const lane = this.lanes.get(scope.handler);
    return lane instanceof Promise ? undefined : lane?.entries.get(record);
  }

  private decide({ work, fence, entries }: PreparedLane, record: KafkaRecord): Admission | Promise<Admission> {
    const entry: Entry | undefined = entries.get(record);
    if (!entry) return Promise.reject(new Error('A record was admitted to a group that it does not belong to'));
    if (entry.error) return this.refuse(work, fence, record, entry.error);
    if (entry.repeats) return { kind: 'repeated', of: entry.repeats };
    if (entry.over) return this.duplicate(work, record, () => keysOf(work, record));
    if (entry.running) return { kind: 'repeated', of: record };
    if (entry.known) return this.resolveKnown(work, entry, entry.known);
    entry.running = true;
    return { kind: 'run', execution: entry.execution! };
  }

  private prepare(work: LaneWork): PreparedLane | Promise<PreparedLane> {
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
      const entry = newEntry(work, record, fence);
      entries.set(record, entry);
      if (!entry.execution || !this.isClaimed(work, entry.execution)) continue;
      const name = entry.execution.claim.key.toString('latin1');
      const first = firsts.get(name);
      if (first) repeat(entry, first);
      else firsts.set(name, entry);
    }
    const claimed = work.records.some(({ offset }) => offset >= fence.nextOffset);
    const lane: PreparedLane = { work, fence, entries, claimed };
    if (claimed) await this.claim(lane, [...firsts.values()]);
    this.all.push(lane);
    this.lanes.set(work.lane.scope.handler, lane);
    return lane;
  }

  private isClaimed(work: LaneWork, execution: Execution): boolean {
    const { record, fence } = execution;
    return (
      this.claimer.claimsPositions ||
      hasRow(work, execution) ||
      fence.inWork?.includes(record.offset) === true
    );
  }

  private async claim({ fence, work }: PreparedLane, entries: readonly Entry[]): Promise<void> {
    const advanceTo = work.isShared ? null : endOf(work);
    const executions = entries.map(({ execution }) => execution!.claim);
    try {
      const verdicts = await this.claimer.claim({ fence, advanceTo, executions });
      verdicts.forEach((verdict, index) => {
        const entry = entries[index]!;
        if (verdict === 'resumed') entry.execution = { ...entry.execution!, resumed: true };
        else if (verdict !== 'claimed') entry.known = verdict;
      });
    } catch (error) {
      if (error instanceof FencedError) this.fences.forget(fence, error);
      throw error;
    }
  }

  private async resolveKnown(work: LaneWork, entry: Entry, known: KnownExecution): Promise<Admission> {
    const execution = entry.execution!;
    const { record, claim } = execution;
    if (known.fingerprint !== claim.fingerprint) {
      const error = new KeyReusedError(
        `The idempotency key at ${record.topic}[${record.partition}] offset ${record.offset} was used before, at ` +
          `partition ${known.partition} offset ${known.offset}, for a record with another content`,
      );
      return this.refuse(work, execution.fence, record, error);
    }
    const sameRecord =
      known.topicId === work.lane.topicId &&
      known.partition === record.partition &&
      known.offset === record.offset;
    if (known.state === 'claimed' || (known.state === 'failed' && !sameRecord)) {
      await this.claimer.takeOver(execution, known);
      entry.execution = { ...execution, resumed: true };
      entry.running = true;
      return { kind: 'run', execution: entry.execution };
    }
    return this.duplicate(work, record, () => [claim.key]);
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
    return this.duplicate(work, record, () => [encoded]);
  }

  /** Its reply is what is stored under the first of these keys that has one. */
  private duplicate(
    work: LaneWork,
    record: KafkaRecord,
    keys: () => readonly Buffer[],
  ): Admission | Promise<Admission> {
    if (work.kind(record) === 'event') return { kind: 'duplicate', reply: undefined };
    return this.findReply(work, keys()).then((reply) => ({ kind: 'duplicate', reply }));
  }

  private async findReply({ lane }: LaneWork, keys: readonly Buffer[]): Promise<Buffer | undefined> {
    const replies = await this.ledger.findReplies(lane.scope, keys);
    return keys.map((key) => replies.get(key.toString('latin1'))).find((reply) => reply !== undefined);
  }
}

/** Positions have rows only where the fence cannot tell what is done; anything else always has one. */
export function hasRow({ isShared }: LaneWork, { key, claim, fence }: Execution): boolean {
  return key.kind !== 'position' || isShared || claim.offset < fence.rowsBelow;
}

/** Above all of the lane's records. */
function endOf({ records }: LaneWork): bigint {
  return records[records.length - 1]!.offset + 1n;
}

/** How far a lane came (`null` if it is shared: then the fence stays), and the first records' executions that it leaves undone. */
export function reached({ work, fence, entries }: PreparedLane, done: ReadonlySet<KafkaRecord>) {
  const open = work.records.filter((record) => !done.has(record) && record.offset >= fence.nextOffset);
  const undone = open.flatMap((record) => {
    const { execution, known, repeats, error } = entries.get(record)!;
    // The key of a repetition, or of a reuse, is the first one's: giving it back would undo that one.
    return execution && !known && !repeats && !error ? [execution] : [];
  });
  const nextOffset = work.isShared ? null : (open[0]?.offset ?? endOf(work));
  return { isComplete: open.length === 0, nextOffset, undone };
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

function newEntry(work: LaneWork, record: KafkaRecord, fence: Fence): Entry {
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
