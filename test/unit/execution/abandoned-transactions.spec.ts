import { AbandonedTransactions } from '../../../lib/execution/abandoned-transactions.js';
import type { GroupSeat } from '../../../lib/execution/group-seat.js';
import type { Fence, LedgerTransaction } from '../../../lib/execution/ledger.js';
import type { OtherMember } from '../../../lib/execution/ledger-members.js';
import { InMemoryLedger } from '../../../lib/testing/in-memory-ledger.js';
import { InMemoryLedgerStore } from '../../../lib/testing/in-memory-ledger-store.js';
import { always, claimOf, newLane, nothing } from '../../support/ledger-lane.js';
import { RecordingLogger } from '../../support/recording-logger.js';
import { SeededClock } from '../../support/seeded-clock.js';

describe('AbandonedTransactions', () => {
  const lane = newLane();
  const { group: groupId } = lane.scope;
  let clock: SeededClock;
  let store: InMemoryLedgerStore;
  let log: RecordingLogger;
  let abandoned: AbandonedTransactions;
  let owner: InMemoryLedger;
  let frozen: LedgerTransaction;
  let other: OtherMember;
  /** A claim that waits for that transaction. */
  let twin: LedgerTransaction | undefined;
  /** Whom the coordinator was asked about. */
  let asked: unknown[];
  /** What it answers. */
  let answer: () => Promise<boolean>;

  beforeEach(async () => {
    clock = new SeededClock(3);
    store = new InMemoryLedgerStore();
    log = new RecordingLogger();
    asked = [];
    answer = () => Promise.resolve(true);
    owner = await open();
    const [successor, witness] = [await open(), await open()];
    const { fence } = await clock.settle(owner.takeFence(lane, always));
    frozen = await clock.settle(claim(owner, fence));
    const instance = [...store.fences.values()][0]!.owner;
    other = { groupId, memberId: 'frozen', instance, alive: true };
    const next = await clock.settle(successor.takeFence({ ...lane, partition: 1 }, always));
    twin = undefined;
    void claim(successor, next.fence).then((transaction) => (twin = transaction));
    abandoned = new AbandonedTransactions(witness.members, clock, log);
  });

  const seat: GroupSeat = {
    groupId,
    memberId: 'witness',
    drop: () => Promise.reject(new Error('nobody is to be dropped')),
    areDropped: (memberIds, topic) => {
      asked.push({ memberIds, ...topic });
      return answer();
    },
    confirm: () => Promise.resolve(),
  };

  async function open(): Promise<InMemoryLedger> {
    const ledger = new InMemoryLedger({ store, clock });
    await clock.settle(ledger.open());
    return ledger;
  }

  async function claim(ledger: InMemoryLedger, fence: Fence): Promise<LedgerTransaction> {
    const transaction = ledger.transaction();
    await transaction.claim({ fence, advanceTo: 1n, executions: [claimOf('twin')] });
    return transaction;
  }

  async function look(others: readonly OtherMember[] = [other]): Promise<void> {
    await clock.run(1_000);
    abandoned.look([seat], others);
    await clock.settle(abandoned.idle());
    await clock.run(100);
  }

  it('are ended where others wait and the coordinator counts their process no more', async () => {
    await look();
    expect(asked).toEqual([{ memberIds: ['frozen'], topic: lane.topic, topicId: lane.topicId }]);
    expect(twin).toBeDefined();
    expect(log.matching(`Ended 1 transaction(s) of ${other.instance}`)).toHaveLength(1);
    await expect(clock.settle(frozen.commit(nothing))).rejects.toThrow('nothing was stored');
  });

  it('are left alone while it is counted', async () => {
    answer = () => Promise.resolve(false);
    for (let round = 0; round < 10; round++) await look();
    expect(asked.length).toBeGreaterThan(5);
    expect(twin).toBeUndefined();
    await clock.settle(frozen.commit(nothing));
    await clock.until(() => twin !== undefined);
  });

  it('have their process asked about once, however many lanes it holds', async () => {
    answer = () => Promise.resolve(false);
    const { fence } = await clock.settle(owner.takeFence({ ...lane, partition: 2 }, always));
    await clock.settle(frozen.claim({ fence, advanceTo: 1n, executions: [] }));
    await look();
    expect(asked).toHaveLength(1);
  });

  it('are left alone where nobody has announced its members', async () => {
    const stranger = { ...other, instance: 'stranger' };
    await look([stranger]);
    await look([{ ...other, groupId: 'shipping' }]);
    expect(asked).toEqual([]);
    expect(twin).toBeUndefined();
  });

  it('are nobody’s trouble where nobody waits', async () => {
    await clock.settle(frozen.commit(nothing));
    await clock.until(() => twin !== undefined);
    await look();
    expect(asked).toEqual([]);
  });

  it('are looked at again when the coordinator could not be asked', async () => {
    answer = () => Promise.reject(new Error('no broker'));
    await look();
    expect(twin).toBeUndefined();
    answer = () => Promise.resolve(true);
    await look();
    expect(twin).toBeDefined();
  });

  it('are asked for once at a time, and once a second at most', async () => {
    let give!: (dropped: boolean) => void;
    answer = () => new Promise((resolve) => (give = resolve));
    await clock.run(1_000);
    abandoned.look([seat], [other]);
    await clock.until(() => asked.length === 1);
    abandoned.look([seat], [other]);
    await clock.run(5_000);
    give(false);
    await clock.settle(abandoned.idle());
    abandoned.look([seat], [other]);
    await clock.run(500);
    expect(asked).toHaveLength(1);
  });
});
