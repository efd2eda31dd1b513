import assert from 'node:assert/strict';
import type { MemberName, OtherMember } from '../../execution/ledger-members.js';
import { systemClock } from '../../runtime/clock.js';
import { eventually } from './eventually.js';
import { type ContractRunner, type CurrentWorld } from './ledger-contract-world.js';

const newGroup = () => `group-${systemClock.uuid().slice(-8)}`;
const named = (groupId: string, ...ids: string[]): MemberName[] =>
  ids.map((memberId) => ({ groupId, memberId }));
const facts = (members: readonly OtherMember[]) =>
  members.map(({ memberId, alive }) => `${memberId} ${alive ? 'lives' : 'is dead'}`).sort();

/** Seeing who of a group lives. */
export function describeMembers({ describe, it }: ContractRunner, world: CurrentWorld): void {
  describe('members', () => {
    it('are seen by others of their groups while their process lives', async () => {
      const [ledger, other] = [await world().openLedger(), await world().openLedger()];
      const [group, foreign] = [newGroup(), newGroup()];
      assert.deepEqual(
        await ledger.members.announce([...named(group, 'a'), ...named(foreign, 'x')], [group]),
        [],
      );
      for (let round = 0; round < 3; round++) {
        assert.deepEqual(facts(await other.members.announce(named(group, 'b'), [group])), ['a lives']);
        assert.deepEqual(facts(await ledger.members.announce(named(group, 'a'), [group])), ['b lives']);
      }
    });

    it('are replaced by what is announced next', async () => {
      const [ledger, other] = [await world().openLedger(), await world().openLedger()];
      const group = newGroup();
      await ledger.members.announce(named(group, 'a', 'b'), [group]);
      await ledger.members.announce(named(group, 'b', 'say "c", \\ {d}'), [group]);
      assert.deepEqual(facts(await other.members.announce([], [group])), [
        'b lives',
        'say "c", \\ {d} lives',
      ]);
      await ledger.members.announce([], [group]);
      assert.deepEqual(await other.members.announce([], [group]), []);
    });

    it('are dead once their process is, until they are forgotten', async () => {
      const [ledger, third, other] = [
        await world().openLedger(),
        await world().openLedger(),
        await world().openLedger(),
      ];
      const group = newGroup();
      await ledger.members.announce(named(group, 'a', 'b'), [group]);
      await third.members.announce(named(group, 'c'), [group]);
      await world().die('a');
      const look = async () => facts(await other.members.announce(named(group, 'd'), [group]));
      await eventually('two are dead', async () => String(await look()) === 'a is dead,b is dead,c lives');
      await other.members.forget({ groupId: group, memberId: 'a' });
      await other.members.forget({ groupId: group, memberId: 'nobody' });
      assert.deepEqual(await look(), ['b is dead', 'c lives']);
    });

    it('live again when their process announces them by another connection', async () => {
      const [ledger, other] = [await world().openLedger(), await world().openLedger()];
      const group = newGroup();
      await ledger.members.announce(named(group, 'a'), [group]);
      await world().die('a');
      const look = async () => facts(await other.members.announce([], [group]));
      await eventually('it is dead', async () => String(await look()) === 'a is dead');
      // The first call may be the one that finds the connection broken.
      await eventually('it lives again', async () => {
        await ledger.members.announce(named(group, 'a'), [group]).catch(() => undefined);
        return String(await look()) === 'a lives';
      });
    });

    it('are gone when their process withdraws or closes', async () => {
      const [ledger, third, other] = [
        await world().openLedger(),
        await world().openLedger(),
        await world().openLedger(),
      ];
      const group = newGroup();
      await other.members.withdraw();
      await ledger.members.announce(named(group, 'a'), [group]);
      await third.members.announce(named(group, 'b'), [group]);
      await ledger.members.withdraw();
      await third.close();
      assert.deepEqual(await other.members.announce([], [group]), []);
    });
  });
}
