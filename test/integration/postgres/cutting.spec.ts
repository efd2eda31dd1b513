import { randomBytes } from 'node:crypto';
import type { Fence } from '../../../lib/execution/ledger.js';
import type { PostgresLedger } from '../../../lib/postgres/postgres-ledger.js';
import type { TransactionClient } from '../../../lib/postgres/transaction-client.js';
import { eventually } from '../../support/eventually.js';
import { always, claimOf, newLane, nothing } from '../../support/ledger-lane.js';
import { databaseUrl, LedgerSchema } from '../../support/ledger-schema.js';
import { TransactionPooler } from '../../support/transaction-pooler.js';

const FOREVER = 'select pg_sleep(600)';
const never = () => Promise.resolve(false);

describe('what Postgres is doing for a transaction that has to end', () => {
  let schema: LedgerSchema;
  let applicationName: string;
  let ledger: PostgresLedger;

  beforeEach(async () => {
    schema = new LedgerSchema();
    applicationName = `cut-${randomBytes(6).toString('hex')}`;
    ledger = await schema.open({ applicationName, poolSize: 3 });
  });

  afterEach(() => schema.dispose());

  /** Statements that Postgres runs for the ledger; what they wait for, if anything. */
  const running = (name = applicationName) =>
    schema.query<{ query: string; wait_event_type: string | null }>(
      `select query, wait_event_type from pg_stat_activity where application_name = $1 and state = 'active'`,
      [name],
    );

  async function sleeper(
    from = ledger,
  ): Promise<{ fence: Fence; rollback(): Promise<void>; ended: Promise<unknown> }> {
    const { fence } = await from.takeFence(newLane(), always);
    const transaction = from.transaction();
    await transaction.claim({ fence, advanceTo: 1n, executions: [claimOf('a')] });
    const ended = (transaction.client as TransactionClient).query(FOREVER).catch((error: unknown) => error);
    return { fence, ended, rollback: () => transaction.rollback() };
  }

  it('is canceled by a rollback, and its locks are free', async () => {
    const { fence, rollback, ended } = await sleeper();
    await eventually(async () => (await running()).length === 1);
    await rollback();
    expect(await ended).toBeInstanceOf(Error);
    await eventually(async () => (await running()).length === 0);
    // Nobody confirms, so nobody is ended by force.
    await ledger.takeFence(fence.lane, never);
    // What is left of the session went to nobody else.
    for (let n = 0; n < 10; n++) await ledger.ping();
  });

  it('is canceled without pipelining too', async () => {
    const other = await schema.open({
      connection: { connectionString: databaseUrl(), max: 3, pipeline: false } as never,
      applicationName,
    });
    const { rollback, ended } = await sleeper(other);
    await eventually(async () => (await running()).length === 1);
    await rollback();
    expect(await ended).toBeInstanceOf(Error);
    await eventually(async () => (await running()).length === 0);
  });

  it('is canceled behind a pooler', async () => {
    const pooler = await TransactionPooler.start();
    try {
      const pooled = await schema.open({
        connection: { connectionString: pooler.url, max: 3 },
        prepare: false,
        applicationName,
      });
      const { fence, rollback, ended } = await sleeper(pooled);
      await eventually(async () => (await running()).length === 1);
      await rollback();
      expect(await ended).toBeInstanceOf(Error);
      await eventually(async () => (await running()).length === 0);
      await pooled.takeFence(fence.lane, never);
    } finally {
      await pooler.close();
    }
  });

  it('is canceled where a claim waits for its twin, and the fence is free before the twin has ended', async () => {
    const [lane, twin] = await Promise.all([0, 1].map((partition) => newLane({ partition })));
    const scope = lane!.scope;
    const fences = await Promise.all([
      ledger.takeFence(lane!, always),
      ledger.takeFence({ ...twin!, scope }, always),
    ]);
    const first = ledger.transaction();
    await first.claim({ fence: fences[1].fence, advanceTo: 1n, executions: [claimOf('same')] });
    const second = ledger.transaction();
    const claiming = second
      .claim({ fence: fences[0].fence, advanceTo: 1n, executions: [claimOf('same')] })
      .catch((error: unknown) => error);
    await eventually(async () => (await running()).some((each) => each.wait_event_type === 'Lock'));
    await second.rollback();
    expect(await claiming).toBeInstanceOf(Error);
    await eventually(async () => (await running()).length === 0);
    const again = await ledger.takeFence(lane!, never);
    expect(again.fence.nextOffset).toBe(0n);
    await first.commit(nothing);
  });

  it('is canceled when the ledger closes', async () => {
    const { ended } = await sleeper();
    await eventually(async () => (await running()).length === 1);
    await ledger.close();
    expect(await ended).toBeInstanceOf(Error);
    await eventually(async () => (await running()).length === 0);
  });
});
