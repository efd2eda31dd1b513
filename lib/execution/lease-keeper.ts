import { describeError } from '../errors/describe-error.js';
import type { Clock, Timer } from '../runtime/clock.js';
import type { Log } from '../runtime/log.js';
import type { LedgerClaims } from './claims.js';
import { Lease } from './lease.js';

/** Renewals per lease: two of them may fail. */
const RENEWALS = 3;
/** Pauses between tries to give claims back, milliseconds. */
const RELEASE_DELAYS = [100, 500, 2_000, 5_000];

/** Renews the claims of this process, all of them in one statement, for as long as there are any. */
export class LeaseKeeper {
  private readonly leases = new Set<Lease>();
  private timer: Timer | undefined;
  private renewing = false;

  /** @param duration of a lease, milliseconds. */
  constructor(
    private readonly claims: LedgerClaims,
    readonly duration: number,
    readonly clock: Clock,
    private readonly log: Log,
  ) {}

  /** A lease under a token of its own, without any claims yet. Call it before these are asked for. */
  create(): Lease {
    return new Lease(this.clock, this.duration);
  }

  /** Renews what the lease holds, until it holds nothing. */
  keep(lease: Lease): void {
    this.leases.add(lease);
    this.schedule();
  }

  /**
   * Gives claims back, so that nobody has to wait for the end of their lease. Tries a few times; what cannot be given back
   * runs out. Never rejects.
   */
  async release(lease: Lease, keys: readonly Buffer[]): Promise<void> {
    for (const key of keys) lease.drop(key);
    if (keys.length > 0) await this.tryRelease(lease.token, keys, 0);
  }

  private async tryRelease(token: string, keys: readonly Buffer[], tries: number): Promise<void> {
    try {
      await this.claims.release(token, keys);
    } catch (error) {
      this.log.debug(`Claims are not given back yet: ${describeError(error)}`);
      const delay = RELEASE_DELAYS[tries];
      if (delay === undefined) return;
      // Nobody waits for it: whoever wants the key comes again.
      this.clock.setBackgroundTimeout(() => void this.tryRelease(token, keys, tries + 1), delay);
    }
  }

  private schedule(): void {
    if (this.timer !== undefined || this.renewing || this.leases.size === 0) return;
    this.timer = this.clock.setBackgroundTimeout(() => {
      this.timer = undefined;
      void this.renew();
    }, this.duration / RENEWALS);
  }

  /** Never rejects. */
  private async renew(): Promise<void> {
    this.renewing = true;
    const asked = new Map<Lease, ReadonlySet<string>>();
    for (const lease of this.leases) {
      if (lease.isEmpty) this.leases.delete(lease);
      else asked.set(lease, lease.keys);
    }
    try {
      if (asked.size > 0) await this.renewAll(asked);
    } finally {
      this.renewing = false;
      this.schedule();
    }
  }

  private async renewAll(asked: ReadonlyMap<Lease, ReadonlySet<string>>): Promise<void> {
    const sentAt = this.clock.monotonic();
    const tokens = [...asked.keys()].map(({ token }) => token);
    try {
      const held = await this.claims.renew(tokens, this.duration);
      for (const [lease, keys] of asked) lease.renewed(sentAt, keys, held.get(lease.token) ?? new Set());
    } catch (error) {
      this.log.debug(`Claims are not renewed yet: ${describeError(error)}`);
      for (const lease of asked.keys()) lease.notRenewed();
    }
  }
}
