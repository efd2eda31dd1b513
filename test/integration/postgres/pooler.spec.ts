import { eventually } from '../../support/eventually.js';
import { LedgerSchema } from '../../support/ledger-schema.js';
import { TransactionPooler } from '../../support/transaction-pooler.js';

const GROUP = 'pooled';
const member = (memberId: string) => [{ groupId: GROUP, memberId }];

describe('a pooler that shares sessions', () => {
  let schema: LedgerSchema;
  let pooler: TransactionPooler;

  beforeEach(async () => {
    schema = new LedgerSchema();
    pooler = await TransactionPooler.start();
  });

  afterEach(async () => {
    await schema.dispose();
    await pooler.close();
  });

  const open = () => schema.open({ connection: { connectionString: pooler.url, max: 3 }, prepare: false });

  it('has a process live by a lease that it renews, and that runs out', async () => {
    const [ledger, other] = [await open(), await open()];
    await ledger.members.announce(member('a'), [GROUP]);
    const lease = async () => {
      const [row] = await schema.query<{ until: Date; left: number; lock_key: string | null }>(
        `select lease_until as until, extract(epoch from lease_until - clock_timestamp())::float as left, lock_key
         from {schema}.member where member_id = 'a'`,
      );
      return row!;
    };
    const first = await lease();
    expect(first.lock_key).toBeNull();
    expect(first.left).toBeGreaterThan(0);
    await eventually(async () => {
      await ledger.members.announce(member('a'), [GROUP]);
      return (await lease()).until > first.until;
    });
    const alive = async () => (await other.members.announce([], [GROUP])).map((each) => each.alive);
    expect(await alive()).toEqual([true]);
    await eventually(async () => String(await alive()) === 'false');
    expect((await lease()).left).toBeLessThan(0);
  });

  it('leaves no lock behind in the sessions that it shares', async () => {
    const ledger = await open();
    await ledger.members.announce(member('a'), [GROUP]);
    await ledger.care.sweep({ settled: 0, abandoned: 0, silence: 0, limit: 1 }, 0n, () =>
      Promise.resolve([]),
    );
    const locks = await schema.query(
      `select 1 from pg_locks l join pg_stat_activity a using (pid)
       where l.locktype = 'advisory' and a.client_port = any ($1)`,
      [pooler.ports],
    );
    expect(locks).toEqual([]);
  });
});
