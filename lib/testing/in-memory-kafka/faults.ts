import type { DriverAdmin, DriverConsumer, DriverProducer, DriverReader } from '../../driver/driver.js';
import { BrokerUnreachableError, ProduceError } from '../../errors/errors.js';
import type { OutgoingRecord, PartitionOffset, RecordMetadata } from '../../messages/record.js';

/** `before`: nothing is stored. `after`: it is stored, and only the answer is lost. */
export type FaultMoment = 'before' | 'after';

/** Ends a fault. Harmless once it is used up. */
export type Heal = () => void;

/** What can be made to go wrong in an `InMemoryKafka`, for tests and simulations. */
export interface InMemoryKafkaFaults {
  /**
   * As if the process of this client (or of the consumer with this member id) had died: none of its callbacks is
   * called and none of its promises settles any more. What it had sent still arrives. Its group finds out when its
   * session times out.
   */
  crash(client: DriverConsumer | DriverProducer | DriverReader | DriverAdmin | string): void;
  /** The coordinator drops a member, which finds out from its next request. One that is not there is fine. */
  expel(memberId: string): void;
  /** The next `which` records, or all that the predicate picks until it is healed, fail with a retryable error. */
  failProduce(which: number | ((record: OutgoingRecord) => boolean), moment?: FaultMoment): Heal;
  /** The same for commits of consumers. */
  failCommit(
    which: number | ((groupId: string, offsets: readonly PartitionOffset[]) => boolean),
    moment?: FaultMoment,
  ): Heal;
  /** Nothing is done, answered or timed out by the broker until `resumeBroker`; clients give up after a while. */
  pauseBroker(): void;
  resumeBroker(): void;
}

interface Fault<Args extends unknown[]> {
  readonly picks: (...args: Args) => boolean;
  readonly moment: FaultMoment;
  left: number;
}

class Faults<Args extends unknown[]> {
  readonly #faults = new Set<Fault<Args>>();

  add(which: number | ((...args: Args) => boolean), moment: FaultMoment): Heal {
    const fault: Fault<Args> =
      typeof which === 'number'
        ? { picks: () => true, moment, left: which }
        : { picks: which, moment, left: Number.POSITIVE_INFINITY };
    this.#faults.add(fault);
    return () => void this.#faults.delete(fault);
  }

  next(...args: Args): FaultMoment | undefined {
    for (const fault of this.#faults) {
      if (fault.left <= 0) this.#faults.delete(fault);
      else if (fault.picks(...args)) {
        fault.left--;
        return fault.moment;
      }
    }
    return undefined;
  }
}

/** The faults that wait for their moment, asked by the broker at each produce and commit. */
export class FaultPlan {
  readonly produces = new Faults<[OutgoingRecord]>();
  readonly commits = new Faults<[string, readonly PartitionOffset[]]>();

  onProduce(record: OutgoingRecord, store: () => RecordMetadata): RecordMetadata {
    const moment = this.produces.next(record);
    if (moment === 'before') throw failedProduce(record, 'was refused');
    const metadata = store();
    if (moment === 'after') throw failedProduce(record, 'was stored but its acknowledgement was lost');
    return metadata;
  }

  onCommit(groupId: string, offsets: readonly PartitionOffset[], store: () => void): void {
    const moment = this.commits.next(groupId, offsets);
    if (moment === 'before') throw failedCommit(groupId, 'was refused');
    store();
    if (moment === 'after') throw failedCommit(groupId, 'was stored but its acknowledgement was lost');
  }
}

function failedProduce({ topic }: OutgoingRecord, what: string): ProduceError {
  return new ProduceError(`A record for topic "${topic}" ${what}, as a test asked for`, { retryable: true });
}

function failedCommit(groupId: string, what: string): BrokerUnreachableError {
  return new BrokerUnreachableError(`A commit of group "${groupId}" ${what}, as a test asked for`);
}
