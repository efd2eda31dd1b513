import { FencedError, KeyReusedError } from '../errors/errors.js';
import { positionKey } from '../messages/idempotency-key.js';
import type { KafkaRecord } from '../messages/record.js';
import type { HoldVerdict } from './claims.js';
import { isGone, ParkingQueue, queued, type Parked } from './parking-queue.js';
import type { FenceRegistry } from './fence-registry.js';
import type { Fence, KnownExecution, Lane, LaneClaim, Ledger } from './ledger.js';
import {
  endOf,
  hasRow,
  keysOf,
  newEntry,
  repeat,
  type Entry,
  type Execution,
  type LaneWork,
  type PreparedLane,
} from './prepared-lane.js';

/** What is to be done with a record. */
export type Admission =
  | { readonly kind: 'run'; readonly execution: Execution }
  /** It was handled before; `reply` is what was answered then. */
  | { readonly kind: 'duplicate'; readonly reply: Buffer | undefined }
  /** It repeats `of`, which comes earlier in this very group. */
  | { readonly kind: 'repeated'; readonly of: KafkaRecord }
  /** It queues behind a parked record of its key. */
  | Parked;

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
   * @throws IdempotencyKeyError, KeyReusedError, FencedError, LedgerUnreachableError, ExecutionInWorkError,
   * ParkingFullError, by rejecting
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

  private decide(
    { work, fence, entries }: PreparedLane,
    record: KafkaRecord,
  ): Admission | Promise<Admission> {
    const entry: Entry | undefined = entries.get(record);
    if (!entry)
      return Promise.reject(new Error('A record was admitted to a group that it does not belong to'));
    if (entry.error) return this.refuse(work, fence, record, entry.error);
    if (entry.parked) return queued(entry.parked, work.lane, work.maxLetters);
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
    const gone =
      work.letter !== undefined && (await isGone(this.ledger, work.lane, work.letter, work.records));
    const parked = work.letter ? undefined : this.fences.parking.of(work.lane);
    const queue = parked && new ParkingQueue(parked, work.maxLetters);
    const entries = new Map<KafkaRecord, Entry>();
    const firsts = new Map<string, Entry>();
    const repeated: [Entry, Entry][] = [];
    for (const record of work.records) {
      const entry = gone ? { record, over: true } : newEntry(work, record, fence, queue);
      entries.set(record, entry);
      if (!entry.execution || !this.isClaimed(work, entry.execution)) continue;
      const name = entry.execution.claim.key.toString('latin1');
      const first = firsts.get(name);
      if (first) repeated.push([entry, first]);
      else firsts.set(name, entry);
    }
    const claimed = work.letter ? !gone : work.records.some(({ offset }) => offset >= fence.nextOffset);
    const hasParked = queue !== undefined && [...entries.values()].some((entry) => entry.parked);
    const lane: PreparedLane = { work, fence, entries, claimed, hasParked };
    if (claimed) await this.claim(lane, [...firsts.values()]);
    for (const [entry, first] of repeated) repeat(entry, first);
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
