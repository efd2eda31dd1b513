import type { Attempt } from '../consumption/attempt.js';
import type { LostEnd } from '../consumption/engine-context.js';
import type { Parking } from '../consumption/parking.js';
import type { ParkingPolicy } from '../consumption/parking-policy.js';
import type { StartupFacts } from './startup-probe.js';

/** What a module that works on a server's handlers does in it. */
export interface ServerExtension {
  /** Called by each start, before anything is connected: the server does not start if it rejects. */
  beforeStart?(facts: StartupFacts): Promise<void>;
  /** Where a start has records parked. */
  createParking?(policy: ParkingPolicy): Parking;
  /** Called, and waited for, when the group has given partitions to the server, before it reads them. Must not reject. */
  beforeReading?(): Promise<void>;
  /** Waited for before a record is handled that came since; called again after a while if it rejects. */
  followLostEnd?(lost: LostEnd): Promise<void>;
  /** Milliseconds for which it remembers idempotency keys of records. */
  readonly memory?: number;
  /**
   * Called for a failed attempt that nothing is enlisted for: a guard that refuses keeps it from the interceptor that
   * enlists attempts.
   */
  enlistLate?(attempt: Attempt): void;
}

/** All that extend one server. */
export class ServerExtensions {
  private readonly all: ServerExtension[] = [];

  add(extension: ServerExtension): void {
    this.all.push(extension);
  }

  readonly beforeStart = async (facts: StartupFacts): Promise<void> => {
    for (const each of this.all) await each.beforeStart?.(facts);
  };

  /** Of the one that has any. */
  createParking(policy: ParkingPolicy): Parking | undefined {
    return this.all.find(({ createParking }) => createParking)?.createParking?.(policy);
  }

  /** The shortest of all; `undefined` if nobody remembers any. */
  get memory(): number | undefined {
    const memories = this.all.flatMap(({ memory }) => memory ?? []);
    return memories.length === 0 ? undefined : Math.min(...memories);
  }

  readonly beforeReading = async (): Promise<void> => {
    await Promise.all(this.all.map((each) => each.beforeReading?.()));
  };

  readonly followLostEnd = async (lost: LostEnd): Promise<void> => {
    for (const each of this.all) await each.followLostEnd?.(lost);
  };

  readonly enlistLate = (attempt: Attempt): void => {
    for (const each of this.all) if (!attempt.resource) each.enlistLate?.(attempt);
  };
}
