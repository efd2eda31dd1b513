import { describeError } from '../errors/describe-error.js';
import { settlesWithin, type Clock } from '../runtime/clock.js';
import type { Log } from '../runtime/log.js';
import { Periodic } from '../runtime/periodic.js';
import { AbandonedTransactions } from './abandoned-transactions.js';
import type { GroupSeat } from './group-seat.js';
import type { LedgerMembers, MemberName, OtherMember } from './ledger-members.js';

/** Milliseconds from the end of one look at the others to the next. */
const INTERVAL = 500;
/** How long a process must seem dead: who only lost its connection has a new one by then. */
const GRACE = 400;
/** How long the start of reading waits for what is announced: other handlers need no ledger. */
const ANNOUNCING = 1_000;
/** Nobody is taken for dead for that long after a look that failed: others may have lost their connections as well. */
const CALM = 5_000;

/**
 * Shortens the time that partitions of a dead process rest: whoever sees in the ledger that the process is gone has the
 * coordinator drop its members, which otherwise waits for their session timeouts. Safe to be wrong: a member that is
 * dropped while it lives is fenced in the ledger, and joins again.
 */
export class FailOver {
  private readonly rounds: Periodic;
  private readonly abandoned: AbandonedTransactions;
  /** Since when a member seems dead, by its name. */
  private readonly missing = new Map<string, number>();
  /** Members that this process has had dropped, or tried to; while they are still announced. */
  private readonly buried = new Map<string, Promise<void>>();
  /** Who was there at the last look, by group. */
  private seen = new Map<string, string>();
  private announced = false;
  private calmUntil = -Infinity;

  constructor(
    private readonly members: LedgerMembers,
    private readonly seats: () => readonly GroupSeat[],
    private readonly clock: Clock,
    private readonly log: Log,
  ) {
    this.abandoned = new AbandonedTransactions(members, clock, log);
    this.rounds = new Periodic(
      clock,
      INTERVAL,
      () => this.look(),
      (error) => this.failed(error),
    );
  }

  start(): void {
    this.rounds.start();
  }

  /**
   * To be called when a member is about to join its group: the session that says that this process lives is made
   * meanwhile, rather than while the first partitions wait for it. Does not wait for it.
   */
  prepare(): void {
    this.announced = true;
    void this.rounds.hurry();
  }

  /**
   * Announces at once what has changed in this process, and resolves when the ledger knows, or after a second. To be
   * awaited before a member begins to work: if it dies before it was announced, nobody knows whom to have dropped.
   * Never rejects.
   */
  async announce(): Promise<void> {
    await settlesWithin(this.clock, this.rounds.hurry(), ANNOUNCING);
  }

  /** Resolves when nothing is under way any more, and this process is announced no more. Idempotent. */
  async stop(): Promise<void> {
    await this.rounds.stop();
    await Promise.all([...this.buried.values(), this.abandoned.idle()]);
    if (this.announced) await this.members.withdraw();
  }

  private async look(): Promise<void> {
    const seats = this.seats();
    if (seats.length === 0 && !this.announced) return;
    this.announced = true;
    const mine = seats.flatMap(({ groupId, memberId }) =>
      memberId === undefined ? [] : [{ groupId, memberId }],
    );
    const others = await this.members.announce(mine, [...new Set(seats.map(({ groupId }) => groupId))]);
    for (const member of this.dead(others)) this.bury(member, seats);
    this.noticeChanges(others, seats);
    this.abandoned.look(seats, others);
  }

  /** Those that were found dead for long enough. */
  private dead(others: readonly OtherMember[]): OtherMember[] {
    const now = this.clock.monotonic();
    const gone = others.filter(({ alive }) => !alive);
    keepOnly(this.missing, gone);
    keepOnly(this.buried, others);
    if (now < this.calmUntil) this.missing.clear();
    return gone.filter((member) => {
      const name = nameOf(member);
      if (now < this.calmUntil || this.buried.has(name)) return false;
      const since = this.missing.get(name);
      if (since === undefined) this.missing.set(name, now);
      return since !== undefined && now - since >= GRACE;
    });
  }

  /** Goes on by itself: what this process announces must not wait for a broker. */
  private bury(member: OtherMember, seats: readonly GroupSeat[]): void {
    const seat = seats.find(({ groupId }) => groupId === member.groupId);
    if (seat === undefined) return;
    const name = nameOf(member);
    const work = this.drop(member, seat).catch((error: unknown) => {
      this.log.debug(`Member ${member.memberId} could not be dropped yet: ${describeError(error)}`);
      this.buried.delete(name);
    });
    this.buried.set(name, work);
  }

  private async drop({ groupId, memberId, instance }: OtherMember, seat: GroupSeat): Promise<void> {
    // Not there: its session is over, or it belongs to a group of this name on another cluster. Pruning will forget it.
    if (await seat.drop(memberId)) {
      this.log.warn(`${instance} is gone: its member ${memberId} was taken out of the group "${groupId}"`);
      // A machine that was switched off leaves its connections open: nothing but this tells the database.
      await this.members.endTransactions(groupId, instance);
      await this.members.forget({ groupId, memberId });
    }
    await seat.confirm();
  }

  /** Who came or went makes the group rebalance: the coordinator would tell at the next heartbeat. */
  private noticeChanges(others: readonly OtherMember[], seats: readonly GroupSeat[]): void {
    const now = new Map<string, string>();
    for (const { groupId } of seats) {
      const present = others.filter((member) => member.groupId === groupId);
      const names = present.map(({ memberId }) => memberId).sort();
      now.set(groupId, names.join('\n'));
    }
    for (const seat of seats) {
      const before = this.seen.get(seat.groupId);
      if (before !== undefined && before !== now.get(seat.groupId)) void seat.confirm();
    }
    this.seen = now;
  }

  private failed(error: unknown): void {
    this.calmUntil = this.clock.monotonic() + CALM;
    this.log.debug(`Other instances can't be looked at now: ${describeError(error)}`);
  }
}

function nameOf({ groupId, memberId }: MemberName): string {
  return `${groupId}\n${memberId}`;
}

function keepOnly(map: Map<string, unknown>, members: readonly MemberName[]): void {
  const names = new Set(members.map(nameOf));
  for (const name of map.keys()) if (!names.has(name)) map.delete(name);
}
