import type { OutgoingRecord, RecordMetadata } from '../messages/record.js';
import type { Attempt, Delivery } from './attempt.js';

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
  /** Resolves when the resource can take work again. */
  probe(): Promise<void>;
}

export type AfterCommit = () => Promise<void>;

/** A terminal end other than success. */
export interface Ending {
  readonly state: 'failed' | 'dead' | 'skipped';
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
  /** Always the same object; its numbers grow. */
  readonly counters: EngineCounters;
  /** Produces a record by the consumer's own producer; resolves when the broker has it. */
  produce(record: OutgoingRecord): Promise<RecordMetadata>;
  /** Asks the coordinator whether this consumer is still a member of its group. */
  confirmMembership(): Promise<boolean>;
  /** The dead letter of a delivery; `undefined` if none are published. */
  deadLetter(delivery: Delivery, ending: Ending, key: string): OutgoingRecord | undefined;
}

/** Consecutive deliveries of one partition that share the fate of what is enlisted. */
export class Group {
  private resource: GroupResource | undefined;
  private first: Attempt | undefined;

  /** @param deliveries all candidates, in order; the group may be closed before the last ones ran. */
  constructor(
    readonly deliveries: readonly Delivery[],
    readonly host: GroupHost,
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

  /** The first attempt that was enlisted: a failure of it undoes nothing but itself. */
  get firstEnlisted(): Attempt | undefined {
    return this.first;
  }
}
