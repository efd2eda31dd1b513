import { Broker } from '../../../lib/testing/in-memory-kafka/broker.js';
import type { GroupRefusal, Joined } from '../../../lib/testing/in-memory-kafka/group-protocol.js';
import { Group } from '../../../lib/testing/in-memory-kafka/group.js';
import { SeededClock } from '../../support/seeded-clock.js';

describe('Group', () => {
  let clock: SeededClock;
  let group: Group;

  beforeEach(() => {
    clock = new SeededClock(1);
    group = new Group(new Broker(clock, 30_000), 'group');
  });

  function join(
    memberId: string,
    protocols = ['p'],
    rebalanceTimeout = 5000,
  ): Promise<Joined | GroupRefusal> {
    return group.join({
      memberId,
      sessionTimeout: 10_000,
      rebalanceTimeout,
      protocols: protocols.map((name) => ({ name, topics: ['orders'], userData: null })),
    });
  }

  async function stable(): Promise<string> {
    const memberId = group.register();
    await join(memberId);
    await group.sync(
      memberId,
      group.generationId,
      new Map([[memberId, [{ topic: 'orders', partition: 0 }]]]),
    );
    return memberId;
  }

  it('hands each member its share of what the leader says', async () => {
    const [leader, other] = [group.register(), group.register()];
    const first = join(leader);
    expect(await first).toMatchObject({ generationId: 1, protocol: 'p', members: [{ memberId: leader }] });
    const both = [join(other), join(leader)];
    expect((await Promise.all(both)).map((each) => (each as Joined).members?.length)).toEqual([undefined, 2]);
    const waiting = group.sync(other, 2);
    await group.sync(leader, 2, new Map([[other, [{ topic: 'orders', partition: 3 }]]]));
    expect(await waiting).toEqual([{ topic: 'orders', partition: 3 }]);
    expect(await group.sync(leader, 2)).toEqual([]);
    expect(group.state).toBe('stable');
  });

  it('refuses what belongs to an earlier generation, or to nobody', async () => {
    const memberId = await stable();
    expect(group.admitCommit(memberId, 1)).toBeUndefined();
    const again = join(memberId);
    expect(group.admitCommit(memberId, 1)).toBe('illegal-generation');
    await again;
    expect(group.heartbeat(memberId, 1)).toBe('illegal-generation');
    expect(await group.sync(memberId, 1)).toBe('illegal-generation');
    expect(group.admitCommit(memberId, 2)).toBe('rebalance-in-progress');
    expect(group.admitCommit('nobody', 2)).toBe('unknown-member');
    expect(await join('nobody')).toBe('unknown-member');
  });

  it('takes commits of the old generation while it waits for members to join the next', async () => {
    const memberId = await stable();
    void join(group.register());
    expect(group.state).toBe('preparing-rebalance');
    expect(group.admitCommit(memberId, 1)).toBeUndefined();
    expect(group.heartbeat(memberId, 1)).toBe('rebalance-in-progress');
  });

  it('goes on after the rebalance timeout without members that have not joined', async () => {
    const slow = await stable();
    const quick = group.register();
    const joined = await clock.settle(join(quick));
    expect(joined).toMatchObject({ generationId: 2, members: [{ memberId: quick }] });
    expect(clock.monotonic()).toBe(5000);
    expect(group.admitCommit(slow, 2)).toBe('unknown-member');
  });

  it('drops a silent member after its session timeout, but none that waits for others', async () => {
    const [silent, waiting] = [await stable(), group.register()];
    const joined = join(waiting, ['p'], 60_000);
    await clock.run(5000);
    expect(group.heartbeat(silent, 1)).toBe('rebalance-in-progress');
    expect(await clock.settle(joined)).toMatchObject({ generationId: 2 });
    expect(clock.monotonic()).toBe(15_000);
    expect(group.memberIds).toEqual([waiting]);
  });

  it('asks whoever waits for the leader to join again when a member comes or goes', async () => {
    const leader = await stable();
    const other = group.register();
    await Promise.all([join(other), join(leader)]);
    const waiting = group.sync(other, 2);
    group.remove(leader);
    expect(await waiting).toBe('rebalance-in-progress');
  });

  it('settles on the protocol that most members like best among those that all know', async () => {
    const [one, two, three] = [group.register(), group.register(), group.register()];
    await join(one, ['a', 'b', 'c']);
    const joined = Promise.all([join(two, ['c', 'b']), join(three, ['b', 'c']), join(one, ['a', 'b', 'c'])]);
    expect((await joined).map((each) => (each as Joined).protocol)).toEqual(['b', 'b', 'b']);
    expect(await join(group.register(), ['a'])).toBe('inconsistent-protocol');
  });
});
