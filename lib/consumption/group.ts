import type { DriverConsumer } from '../driver/driver.js';
import type { OutgoingRecord, RecordMetadata } from '../messages/record.js';
import type { Attempt, Delivery } from './attempt.js';
import type { ParkingPolicy } from './parking-policy.js';

/**
 * Something whose outcome is decided together with a group: a database transaction.
 *
 * The engine calls `commit` once after all handlers of the group succeeded, or `rollback`. Nothing of the group is
 * answered, and no offset of it moves, before `commit` has resolved.
 */
export interface GroupResource {
  /** Attempts share nothing: those that succeeded are committed although another of their group failed. */
  readonly isolates: boolean;
  /**
   * Milliseconds that the group waited for the resource before its first handler could run; 0 before that. A part of what
   * the group costs whatever its size is.
   */
  readonly preparation: number;
  /**
   * Asked before each run once the resource is enlisted: the record was handled before, and nobody waits for an answer.
   * It counts as done without its handler being called.
   */
  isOver(delivery: Delivery): boolean;
  /**
   * Makes the work of these attempts durable; whatever was prepared for others of the group is given back.
   * Resolves with what is still to be done for them outside (produce the outbox), awaited before their offsets move.
   */
  commit(attempts: readonly Attempt[]): Promise<AfterCommit | undefined>;
  /** Idempotent; never rejects. */
  rollback(): Promise<void>;
  /** Writes down how a delivery ended without success, in a transaction of its own. */
  conclude(attempt: Attempt, ending: Ending): Promise<AfterCommit | undefined>;
  /**
   * A delivery failed by itself, and will be tried again: its count (`delivery.failures`) is to survive this process.
   * Never rejects.
   */
  noteFailure(attempt: Attempt, error: unknown): Promise<void>;
  /**
   * Told now and then, also after the end of the group, and one resource for all of its partition: everything of the
   * partition below `offset` is done and acknowledged, and the broker knows it. Never throws.
   */
  doneBelow(offset: bigint): void;
  /** Resolves when the resource can take work again. */
  probe(): Promise<void>;
}

export type AfterCommit = () => Promise<void>;

/** An end other than success. `parked`: the resource keeps the record, and has it tried again later. */
export interface Ending {
  readonly state: 'failed' | 'dead' | 'skipped' | 'parked';
  /** For `dead`, as in the dead letter's `dlt-reason`. */
  readonly reason: string;
  readonly error: unknown;
}

/** What a consumer counts of the work that resources take part in, since it was made. */
export interface EngineCounters {
  /** Runs that failed and were tried again. */
  readonly retried: number;
  /** Times the gate was closed. */
  readonly gateClosed: number;
}

/** What a resource may ask of the consumer that its group belongs to. */
export interface GroupHost {
  /** The consumer group's id. */
  readonly groupId: string;
  readonly parkingPolicy: ParkingPolicy;
  /** Always the same object; its numbers grow. */
  readonly counters: EngineCounters;
  /** Produces a record by the consumer's own producer; resolves when the broker has it. */
  produce(record: OutgoingRecord): Promise<RecordMetadata>;
  /** Asks the coordinator whether this consumer is still a member of its group. */
  confirmMembership(): Promise<boolean>;
  readonly endOfEpoch: DriverConsumer['endOfEpoch'];
  /** The dead letter of a delivery; `undefined` if none are published. */
  deadLetter(delivery: Delivery, ending: Ending, key: string): OutgoingRecord | undefined;
}

/** How far a partition came. */
export interface Progress {
  /** Everything below was read and is done, or is not to be read. */
  readonly position: bigint;
  /** Not lower than that of any record that was read; `undefined` where nobody knows. */
  readonly leaderEpoch: number | undefined;
}

/** In which order the deliveries of a group are, and of those of other groups at work at the same time. */
export interface GroupOrder {
  /** Other groups of the same partition are at work meanwhile, above and below this one's offsets. */
  readonly isShared: boolean;
  /** Handlers of the group run at once. */
  readonly isConcurrent: boolean;
}

/** Deliveries of one partition that share the fate of what is enlisted; of each of their sequences in order. */
export class Group {
  /** Attempts that are enlisted and have succeeded so far, in the order of their ends. */
  readonly done: Attempt[] = [];
  private resource: GroupResource | undefined;
  private first: Attempt | undefined;

  /**
   * @param deliveries all candidates; the group may be closed before the last ones ran.
   * @param progress of the partition, as it is at any time
   */
  constructor(
    readonly deliveries: readonly Delivery[],
    readonly host: GroupHost,
    readonly order: GroupOrder,
    readonly progress: Progress,
  ) {}

  get enlisted(): GroupResource | undefined {
    return this.resource;
  }

  /**
   * Called by an interceptor before the handler runs: from now on the attempt's success hangs on the resource.
   * The first call in a group creates the resource, later ones get the same.
   */
  enlist<R extends GroupResource>(attempt: Attempt, create: (group: Group) => R): R {
    this.resource ??= create(this);
    this.first ??= attempt;
    attempt.resource = this.resource;
    return this.resource as R;
  }

  /** Whether a failure of this attempt undoes nothing but itself. */
  isUndoneAlone(attempt: Attempt): boolean {
    return this.order.isConcurrent ? this.deliveries.length === 1 : this.first === attempt;
  }
}
