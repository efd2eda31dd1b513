import { jest } from '@jest/globals';
import { FailOver } from '../../../lib/execution/fail-over.js';
import type { GroupSeat } from '../../../lib/execution/group-seat.js';
import { InMemoryLedger } from '../../../lib/testing/in-memory-ledger.js';
import { InMemoryLedgerStore } from '../../../lib/testing/in-memory-ledger-store.js';
import { always, claimOf, newLane } from '../../support/ledger-lane.js';
import { RecordingLogger } from '../../support/recording-logger.js';
import { SeededClock } from '../../support/seeded-clock.js';

const GROUP = 'billing';

/** A seat, and what was asked of it. */
class TestSeat implements GroupSeat {
  readonly groupId = GROUP;
  readonly dropped: string[] = [];
  confirmed = 0;
  /** What the coordinator answers. */
  answer: () => Promise<boolean> = () => Promise.resolve(true);

  constructor(public memberId: string | undefined) {}

  drop(memberId: string): Promise<boolean> {
    this.dropped.push(memberId);
    return this.answer();
  }

  areDropped(): Promise<boolean> {
    return Promise.resolve(false);
  }

  confirm(): Promise<void> {
    this.confirmed++;
    return Promise.resolve();
  }
}

interface Instance {
  readonly ledger: InMemoryLedger;
  readonly seat: TestSeat;
  readonly failOver: FailOver;
}

describe('FailOver', () => {
  let clock: SeededClock;
  let store: InMemoryLedgerStore;
  const running: FailOver[] = [];

  beforeEach(() => {
    clock = new SeededClock(7);
    store = new InMemoryLedgerStore();
  });

  afterEach(async () => {
    await Promise.all(running.splice(0).map((failOver) => clock.settle(failOver.stop())));
  });

  async function start(memberId: string): Promise<Instance> {
    const ledger = new InMemoryLedger({ store, clock });
    await clock.settle(ledger.open());
    const seat = new TestSeat(memberId);
    const failOver = new FailOver(ledger.members, () => [seat], clock, new RecordingLogger());
    failOver.start();
    running.push(failOver);
    await clock.until(() => announced().includes(memberId));
    return { ledger, seat, failOver };
  }

  const fenceOwner = () => [...store.fences.values()][0]!.owner;
  const announced = () => [...store.members.values()].map(({ memberId }) => memberId).sort();
  const die = async ({ ledger, failOver }: Instance) => {
    ledger.crash();
    running.splice(running.indexOf(failOver), 1);
    await clock.settle(failOver.stop());
  };

  it('waits for the announcement for a second only, where the store does not take it', async () => {
    const { ledger, seat, failOver } = await start('first');
    const taken = jest.spyOn(ledger.members, 'announce').mockReturnValue(new Promise(() => undefined));
    seat.memberId = 'first again';
    const before = clock.monotonic();
    await clock.settle(failOver.announce());
    expect(clock.monotonic() - before).toBe(1_000);
    expect(taken).toHaveBeenCalled();
    running.splice(0);
  });

  it('makes the session of a process while its first member is about to join, well before the next look', async () => {
    const ledger = new InMemoryLedger({ store, clock });
    await clock.settle(ledger.open());
    const failOver = new FailOver(ledger.members, () => [], clock, new RecordingLogger());
    failOver.start();
    running.push(failOver);
    expect(store.living.size).toBe(0);
    failOver.prepare();
    await clock.until(() => store.living.size === 1, 100);
    expect(announced()).toEqual([]);
  });

  it('has the members of a dead process dropped within two seconds, and nobody else', async () => {
    const [first, second, third] = [await start('first'), await start('second'), await start('third')];
    await clock.run(60_000);
    await die(first);
    await clock.run(2_000);
    expect(new Set([...second.seat.dropped, ...third.seat.dropped])).toEqual(new Set(['first']));
    expect(announced()).toEqual(['second', 'third']);
    await clock.run(60_000);
    expect(second.seat.dropped.length + third.seat.dropped.length).toBeLessThanOrEqual(2);
  });

  it('ends what transactions of a dead process the database still holds open', async () => {
    // As on a machine that was switched off, whose connections nobody has closed.
    const [first, second] = [await start('first'), await start('second')];
    const lane = newLane({ scope: { group: GROUP, handler: 'Orders.onPlaced' } });
    const { fence } = await clock.settle(first.ledger.takeFence(lane, always));
    const transaction = first.ledger.transaction();
    await clock.settle(transaction.claim({ fence, advanceTo: 1n, executions: [claimOf('key')] }));
    first.ledger.members.die();
    running.splice(running.indexOf(first.failOver), 1);
    await clock.settle(first.failOver.stop());
    store.members.set('first', { groupId: GROUP, memberId: 'first', instance: fenceOwner() });
    await clock.until(() => second.seat.dropped.length > 0, 2_000);
    await clock.until(() => transaction.broken, 1_000);
  });

  it('is done by a process that was started later', async () => {
    await die(await start('first'));
    const next = await start('next');
    await clock.until(() => next.seat.dropped.length > 0, 2_000);
    expect(next.seat.dropped).toEqual(['first']);
    await clock.until(() => String(announced()) === 'next', 100);
  });

  it('leaves a process alone that lost its connection and has another one', async () => {
    const [first, second] = [await start('first'), await start('second')];
    for (let round = 0; round < 20; round++) {
      first.ledger.members.die();
      void first.failOver.announce();
      await clock.run(700);
    }
    expect(second.seat.dropped).toEqual([]);
  });

  it('leaves everybody alone for a while after the database was away', async () => {
    const [first, second] = [await start('first'), await start('second')];
    store.disconnect();
    await clock.run(20_000);
    store.living.clear();
    store.reconnect();
    // The first one is late.
    await clock.settle(first.failOver.stop());
    store.members.set('late', { groupId: GROUP, memberId: 'first', instance: 'a process that is late' });
    await clock.run(4_000);
    expect(second.seat.dropped).toEqual([]);
    await clock.until(() => second.seat.dropped.length > 0, 4_000);
    expect(second.seat.dropped).toEqual(['first']);
  });

  it('tells the coordinator of nobody twice whom it does not know', async () => {
    const [first, second] = [await start('first'), await start('second')];
    second.seat.answer = () => Promise.resolve(false);
    await die(first);
    await clock.run(30_000);
    expect(second.seat.dropped).toEqual(['first']);
    expect(announced()).toEqual(['first', 'second']);
  });

  it('tries again when the coordinator could not be asked', async () => {
    const [first, second] = [await start('first'), await start('second')];
    second.seat.answer = () => Promise.reject(new Error('no broker'));
    await die(first);
    await clock.until(() => second.seat.dropped.length > 3);
    second.seat.answer = () => Promise.resolve(true);
    await clock.until(() => announced().length === 1);
  });

  it('goes on announcing while a broker keeps it waiting', async () => {
    const [first, second] = [await start('first'), await start('second')];
    let answer!: (known: boolean) => void;
    second.seat.answer = () => new Promise((resolve) => (answer = resolve));
    await die(first);
    await clock.until(() => second.seat.dropped.length === 1);
    second.seat.memberId = 'second again';
    await clock.until(() => announced().includes('second again'));
    answer(true);
    await clock.until(() => announced().length === 1);
  });

  it('asks for a rebalance at once when somebody comes or goes, and not otherwise', async () => {
    const first = await start('first');
    await clock.run(10_000);
    expect(first.seat.confirmed).toBe(0);
    const second = await start('second');
    await clock.until(() => first.seat.confirmed === 1, 1_000);
    await clock.run(10_000);
    expect(first.seat.confirmed).toBe(1);
    await clock.settle(second.failOver.stop());
    await clock.until(() => first.seat.confirmed === 2, 1_000);
    expect(first.seat.dropped).toEqual([]);
  });

  it('follows the member when it is called otherwise, and withdraws it in the end', async () => {
    const { seat, failOver } = await start('first');
    seat.memberId = 'first again';
    await clock.settle(failOver.announce());
    expect(announced()).toEqual(['first again']);
    seat.memberId = undefined;
    await clock.until(() => announced().length === 0, 1_000);
    seat.memberId = 'back';
    await clock.until(() => announced().length === 1, 1_000);
    await clock.settle(failOver.stop());
    expect(announced()).toEqual([]);
  });
});
