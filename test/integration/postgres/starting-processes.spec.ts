import { listMigrations } from '../../../lib/postgres/migrator.js';
import { eventually } from '../../support/eventually.js';
import { databaseUrl, LedgerSchema } from '../../support/ledger-schema.js';
import { Program } from '../../support/program.js';
import { SETTINGS_VARIABLE, type LedgerSettings } from './children/ledger-settings.js';

const program = new URL('../../dist/test/integration/postgres/children/ledger-process.js', import.meta.url);
const PROCESSES = 8;
/** Of the older schema that processes meet. */
const OLD_VERSION = 5;

/**
 * The test holds what all of them need until Postgres says that all of them wait: so they do start at once, however slow the
 * machine is.
 */
describe('Eight processes that start at once', () => {
  let schema: LedgerSchema;
  let processes: Program[];

  beforeEach(() => {
    schema = new LedgerSchema();
    processes = [];
  });

  afterEach(async () => {
    await Promise.all(processes.map((process) => process.close()));
    await schema.dispose();
  });

  const nameOf = (index: number) => `${schema.schema}/${index}`;

  function start(): void {
    for (let partition = 0; partition < PROCESSES; partition++) {
      const url = new URL(databaseUrl());
      url.searchParams.set('application_name', nameOf(partition));
      const settings: LedgerSettings = { connection: url.href, schema: schema.schema, partition };
      processes.push(new Program(program, { [SETTINGS_VARIABLE]: JSON.stringify(settings) }));
    }
  }

  /** Begins a transaction with `text`, resolves once all processes wait for a lock, and ends it after `during`. */
  async function allWaitingFor(text: string, during: () => Promise<void> = async () => {}): Promise<void> {
    const holder = await schema.pool.connect();
    try {
      await holder.query(`begin; ${text.replaceAll('{schema}', schema.quoted)}`);
      start();
      await eventually(async () => {
        const ended = processes.find(({ running }) => !running);
        if (ended) return true;
        const [row] = await schema.query<{ n: number }>(
          `select count(*)::int as n from pg_stat_activity where application_name like $1 and wait_event_type = 'Lock'`,
          [`${schema.schema}/%`],
        );
        return row!.n === PROCESSES;
      });
      expect(processes.filter(({ running }) => !running).map(({ output }) => output)).toEqual([]);
      await during();
    } finally {
      await holder.query('rollback');
      holder.release();
    }
  }

  /** The one that has got further than to wait for its turn: it needs a table. */
  function migrating(): Promise<Program | undefined> {
    return eventually(async () => {
      const rows = await schema.query<{ application_name: string }>(
        `select a.application_name from pg_locks l join pg_stat_activity a on a.pid = l.pid
         where a.application_name like $1 and l.locktype = 'relation' and not l.granted`,
        [`${schema.schema}/%`],
      );
      return processes.find((_, index) => nameOf(index) === rows[0]?.application_name);
    });
  }

  /** Each said what it migrated to, and nothing else but that it worked. Resolves with the versions, in order. */
  async function endWell(ending: readonly Program[]): Promise<number[]> {
    await Promise.all(ending.map((process) => process.end()));
    const versions = ending.flatMap(({ lines, output, code }) => {
      expect([lines.at(-1), code, output]).toEqual(['worked', 0, output]);
      return lines.slice(0, -1).map((line) => {
        const [, version] = /^log: Ledger schema "\S+" is at version (\d+) \(\w+\)$/.exec(line) ?? [];
        expect([line, version]).toEqual([line, expect.any(String)]);
        return Number(version);
      });
    });
    return versions.sort((left, right) => left - right);
  }

  async function expectMigratedOnce(): Promise<number[]> {
    const all = (await listMigrations()).map(({ version }) => version);
    const rows = await schema.query<{ version: number }>(
      'select version from {schema}.schema_migration order by version',
    );
    expect(rows.map(({ version }) => version)).toEqual(all);
    return all;
  }

  async function expectWorked(partitions: readonly number[]): Promise<void> {
    const rows = await schema.query<{ key: string }>('select key from {schema}.executions order by key');
    expect(rows.map(({ key }) => key)).toEqual(partitions.map(String));
  }

  it('set an empty database up once', async () => {
    // Whoever is first waits for this schema to exist or not, the others for their turn.
    await allWaitingFor('create schema {schema}');
    const migrated = await endWell(processes);
    expect(migrated).toEqual(await expectMigratedOnce());
    await expectWorked(processes.map((_, index) => index));
  });

  it('bring an older schema up to date once', async () => {
    await schema.createVersion(OLD_VERSION);
    await allWaitingFor('lock table {schema}.schema_migration in access exclusive mode');
    const migrated = await endWell(processes);
    expect(migrated).toEqual((await expectMigratedOnce()).filter((version) => version > OLD_VERSION));
    await expectWorked(processes.map((_, index) => index));
  });

  it('go on where one of them was killed in the middle of a migration', async () => {
    await schema.createVersion(OLD_VERSION);
    let killed: Program | undefined;
    // What version 7 adds an index to.
    await allWaitingFor('lock table {schema}.dead_letter in row exclusive mode', async () => {
      killed = await migrating();
      await killed!.close();
    });
    const others = processes.filter((process) => process !== killed);
    const migrated = await endWell(others);
    expect(killed!.signal).toBe('SIGKILL');
    expect(killed!.output).not.toContain('worked');
    // It may have finished an earlier one.
    const reported = [...migrated, ...versionsSaidBy(killed!)].sort((left, right) => left - right);
    expect(reported).toEqual((await expectMigratedOnce()).filter((version) => version > OLD_VERSION));
    await expectWorked(processes.flatMap((process, index) => (process === killed ? [] : [index])));
  });
});

function versionsSaidBy({ output }: Program): number[] {
  return [...output.matchAll(/is at version (\d+)/g)].map(([, version]) => Number(version));
}
