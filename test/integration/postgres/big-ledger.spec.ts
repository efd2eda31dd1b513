import { createReaderStatements } from '../../../lib/postgres/reader-statements.js';
import { STATE_NUMBERS } from '../../../lib/postgres/stored-values.js';
import { eventually } from '../../support/eventually.js';
import { always, claimOf, newLane } from '../../support/ledger-lane.js';
import { LedgerSchema } from '../../support/ledger-schema.js';

interface Plan {
  readonly 'Node Type': string;
  readonly 'Relation Name'?: string;
  readonly 'Index Name'?: string;
  readonly Plans?: readonly Plan[];
}

describe('a big ledger', () => {
  let schema: LedgerSchema;
  beforeEach(async () => {
    schema = new LedgerSchema();
    await schema.open();
  });
  afterEach(() => schema.dispose());

  /** As if many years had gone by: one in fifty ended badly, and some are claimed. */
  async function fill(): Promise<void> {
    const { completed, claimed, dead, failed } = STATE_NUMBERS;
    await schema.query(`insert into {schema}.scope (consumer_group, handler) values ('g', 'h')`);
    await schema.query(
      `insert into {schema}.execution (scope_id, key, state, fingerprint, topic_id, partition, record_offset, finished_at)
       select 1, convert_to('g' || n, 'UTF8'),
         case when n % 10000 = 0 then ${claimed} when n % 5000 = 0 then ${failed} when n % 50 = 0 then ${dead}
           else ${completed} end,
         0, '0b6f0f2e-0000-4000-8000-000000000001', 0, n, to_timestamp(n)
       from generate_series(1, 100000) n`,
    );
    await schema.query(
      `insert into {schema}.failure (scope_id, key, error_name, error_message, ended_at)
       select scope_id, key, 'Error', 'no', finished_at from {schema}.execution where state in (${failed}, ${dead})`,
    );
    await schema.query(
      `insert into {schema}.claim (scope_id, key, owner, instance, lease_until, topic_id, partition, record_offset)
       select scope_id, key, gen_random_uuid(), 'i', clock_timestamp(), topic_id, partition, record_offset
       from {schema}.execution where state = ${claimed}`,
    );
    for (const table of ['scope', 'execution', 'failure', 'claim', 'dead_letter', 'fence'])
      await schema.query(`analyze {schema}.${table}`);
  }

  async function planOf(text: string, values: readonly unknown[]): Promise<Plan[]> {
    const [row] = await schema.query<{ 'QUERY PLAN': readonly [{ Plan: Plan }] }>(
      `explain (format json) ${text}`,
      [...values],
    );
    const nodes = (plan: Plan): Plan[] => [plan, ...(plan.Plans ?? []).flatMap(nodes)];
    return nodes(row!['QUERY PLAN'][0].Plan);
  }

  it('is not read as a whole for what is not completed', async () => {
    await fill();
    const { list, listUnsuccessful, listClaimed } = createReaderStatements(schema.schema);
    const readsAll = (plan: readonly Plan[]) =>
      plan.some(
        (node) => node['Relation Name'] === 'execution' && /^(Parallel )?Seq Scan/.test(node['Node Type']),
      );
    const cursor = ['50000000000', 1, Buffer.from('g50000')];
    for (const group of [null, 'g']) {
      for (const after of [[null, null, null], cursor]) {
        const values = (state: number | null) => [group, null, state, null, null, ...after, 101];
        for (const state of [STATE_NUMBERS.dead, STATE_NUMBERS.failed, STATE_NUMBERS.skipped]) {
          const plan = await planOf(listUnsuccessful.text, values(state));
          expect(readsAll(plan)).toBe(false);
          expect(plan.map((node) => node['Index Name'])).toContain('failure_ended_at_idx');
        }
        expect(readsAll(await planOf(listClaimed.text, values(STATE_NUMBERS.claimed)))).toBe(false);
      }
    }
    // Without a state, or a time, there is no other way.
    const newest = [null, null, null, null, null, null, null, null, 101];
    expect(readsAll(await planOf(list.text, newest))).toBe(true);
    const recent = [null, null, null, '99900000000', null, null, null, null, 101];
    expect(readsAll(await planOf(list.text, recent))).toBe(false);
  });

  it('is not written to more than once for a claim that completes, from Postgres 16 on', async () => {
    const ledger = await schema.open();
    const { fence } = await ledger.takeFence(newLane(), always);
    const held = { fence, token: '0b6f0f2e-0000-4000-8000-000000000002' };
    const executions = Array.from({ length: 10 }, (_, offset) => claimOf(`g${offset}`, offset));
    await ledger.claims.claim(held, executions, 60_000);
    const completed = executions.map((execution) => ({ execution, reply: undefined, outbox: [] }));
    await ledger.claims.complete({ ...held, completed, nextOffset: 10n });
    // What a session did is told at the latest when it ends.
    await ledger.close();
    const [server] = await schema.query<{ version: number }>(
      `select current_setting('server_version_num')::int as version`,
    );
    const inPlace = server!.version >= 160_000 ? executions.length : 0;
    const updates = await eventually(async () => {
      const [row] = await schema.query<{ all: number; in_place: number }>(
        `select n_tup_upd::int as all, n_tup_hot_upd::int as in_place from pg_stat_all_tables
         where schemaname = $1 and relname = 'execution'`,
        [schema.schema],
      );
      return row!.all > 0 && row;
    });
    expect(updates).toEqual({ all: executions.length, in_place: inPlace });
  });
});
