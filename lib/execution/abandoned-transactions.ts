import { describeError } from '../errors/describe-error.js';
import type { Clock } from '../runtime/clock.js';
import type { Log } from '../runtime/log.js';
import type { GroupSeat } from './group-seat.js';
import type { LedgerMembers, Obstruction, OtherMember } from './ledger-members.js';

/** Milliseconds from the end of one look to the next. */
const INTERVAL = 1_000;

/**
 * Ends transactions in which a frozen process has others wait, once the coordinator counts it among its group no more.
 * Whoever is assigned its partitions would end those that hold their lanes; but handlers on other partitions may wait for
 * rows that are locked in them, and keep the rebalance, and the slots in which the lanes would be taken, until then.
 * Nothing is done before the coordinator has given the process up: until then it may go on and be right.
 */
export class AbandonedTransactions {
  private looking: Promise<void> | undefined;
  private nextLook = -Infinity;

  constructor(
    private readonly members: LedgerMembers,
    private readonly clock: Clock,
    private readonly log: Log,
  ) {}

  /**
   * Looks, once a second at most, and not while it still does: goes on by itself. Never throws.
   *
   * @param others as they are announced now.
   */
  look(seats: readonly GroupSeat[], others: readonly OtherMember[]): void {
    if (this.looking || others.length === 0 || this.clock.monotonic() < this.nextLook) return;
    this.looking = this.lookNow(seats, others)
      .catch((error: unknown) =>
        this.log.debug(`Who keeps others waiting can't be told now: ${describeError(error)}`),
      )
      .finally(() => {
        this.looking = undefined;
        this.nextLook = this.clock.monotonic() + INTERVAL;
      });
  }

  /** Resolves when nothing is under way. */
  async idle(): Promise<void> {
    await this.looking;
  }

  private async lookNow(seats: readonly GroupSeat[], others: readonly OtherMember[]): Promise<void> {
    const groups = [...new Set(seats.map(({ groupId }) => groupId))];
    const asked = new Set<string>();
    for (const obstruction of await this.members.obstructions(groups)) {
      const { groupId, instance, topicId } = obstruction;
      const name = [groupId, instance, topicId].join('\n');
      // Of all its lanes once: it is the process that the coordinator counts or not, and each question is a connection.
      if (asked.has(name)) continue;
      asked.add(name);
      if (await this.isAbandoned(obstruction, seats, others)) await this.end(obstruction);
    }
  }

  /** Whoever is not announced may be a member all the same. */
  private async isAbandoned(
    { groupId, instance, ...topic }: Obstruction,
    seats: readonly GroupSeat[],
    others: readonly OtherMember[],
  ): Promise<boolean> {
    const seat = seats.find((own) => own.groupId === groupId);
    const announced = others.filter((member) => member.groupId === groupId && member.instance === instance);
    if (!seat || announced.length === 0) return false;
    return seat.areDropped(
      announced.map(({ memberId }) => memberId),
      topic,
    );
  }

  private async end({ groupId, instance }: Obstruction): Promise<void> {
    const ended = await this.members.endTransactions(groupId, instance);
    if (ended === 0) return;
    this.log.warn(
      `Ended ${ended} transaction(s) of ${instance}, which is no member of the group "${groupId}" any more: others waited ` +
        'for what they had locked',
    );
  }
}
