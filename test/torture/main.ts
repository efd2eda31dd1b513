/** Program. `npm run torture`: see the README. */
import { randomBytes } from 'node:crypto';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { OptionError } from '../../sample/command-line.js';
import { Progress } from '../../sample/bank/progress.js';
import type * as GuardModule from '../../sample/servers/guard.js';
import type * as ServersModule from '../../sample/servers/index.js';
import type { Servers } from '../../sample/servers/index.js';
import { describeFaults, faultNamed } from './faults/catalogue.js';
import { libraryIndex } from './ground/ground.js';
import { help, type Options, parseOptions } from './options.js';
import { counted, details, jsonLine, table, whereToLook } from './report.js';
import { type Result, run } from './run.js';

/** Nodes that go on without one of them. */
const CLUSTER = 3;

const root = fileURLToPath(new URL('../../../../', import.meta.url));

/** Compiled with the samples: they start a watchdog program that lies beside them. */
async function compiled<Exports>(file: string): Promise<Exports> {
  return (await import(join(root, 'sample/dist/servers', file))) as Exports;
}

process.exit(await main());

async function main(): Promise<number> {
  try {
    const command = parseOptions(process.argv.slice(2), () => randomBytes(4).readUInt32BE());
    if (command.kind === 'run') return await torture(command.options);
    process.stdout.write(command.kind === 'help' ? help : describeFaults());
    return 0;
  } catch (error) {
    process.stderr.write(`${error instanceof OptionError ? error.message : describe(error)}\n`);
    return error instanceof OptionError ? 2 : 1;
  }
}

/** Resolves to the exit code, when nothing that was started is left. */
async function torture(options: Options): Promise<number> {
  const started = performance.now();
  const people = options.json ? process.stderr : process.stdout;
  const progress = new Progress(people);
  const event = (line: string) => progress.event(line);
  const { Guard } = await compiled<typeof GuardModule>('guard.js');
  const { startServers } = await compiled<typeof ServersModule>('index.js');
  const guard = new Guard();
  const interrupted = interruption();
  const folder = await mkdtemp(join(tmpdir(), 'torture-'));
  // Postgres may have to run as somebody else, who passes through.
  await chmod(folder, 0o711);
  guard.folder(folder);
  let servers: Servers | undefined;
  let result: Result | undefined;
  let passed = false;
  try {
    event(
      `seed ${options.seed}: ${options.messages} messages in ${options.duration} s, ${options.faults.length} faults; data in ${folder}`,
    );
    takeGivenServers(options);
    servers = await startServers({
      kafkaNodes: options.cluster ? CLUSTER : 1,
      log: event,
      dataDir: join(folder, 'servers'),
      keep: true,
    });
    await keepCommitTimes(servers);
    result = await Promise.race([
      interrupted.happened,
      run({
        options,
        servers,
        guard,
        folder: join(folder, 'processes'),
        library: libraryIndex(resolve(options.library ?? join(root, 'dist'))),
        event,
        show: (state) => progress.show(state),
        signal: interrupted.signal,
      }),
    ]);
    progress.close();
    passed = result.violations.length === 0;
    people.write(`\n${table(result, options)}\n\n`);
    if (!passed) {
      guard.done(folder);
      const report = `${table(result, options)}\n\n${details(result, options)}\n`;
      await writeFile(join(folder, 'report.txt'), report);
      people.write(`${details(result, options)}\n\n${whereToLook(result, options, folder)}\n`);
    }
  } finally {
    progress.close();
    await result?.dispose({ keep: !passed });
    await guard.release();
    await servers?.stop();
    if (passed || !result) await rm(folder, { recursive: true, force: true });
    interrupted.forget();
  }
  const seconds = (performance.now() - started) / 1_000;
  people.write(
    passed
      ? `No violation (${seconds.toFixed(0)} s).\n`
      : `Seed ${options.seed}: ${counted(result.violations.length)}.\n`,
  );
  if (options.json) process.stdout.write(`${jsonLine(result, options, seconds)}\n`);
  return passed ? 0 : 1;
}

/** Servers that were given belong to somebody else: they are used, but not where a fault has to stop them. */
function takeGivenServers({ faults }: Options): void {
  for (const [server, variable] of [
    ['kafka', 'KAFKA_BROKERS'],
    ['postgres', 'DATABASE_URL'],
  ] as const) {
    const needs = faults.filter((name) => faultNamed(name).stops === server);
    if (needs.length > 0) delete process.env[variable];
  }
}

/** Has Postgres remember when each transaction committed. Needs a restart; given servers are left as they are. */
async function keepCommitTimes(servers: Servers): Promise<void> {
  if (servers.origin.postgres === 'given') return;
  const client = new pg.Client({ connectionString: servers.databaseUrl });
  await client.connect();
  const { rows } = await client.query<{ setting: string }>(
    `select current_setting('track_commit_timestamp') as setting`,
  );
  await client.query('alter system set track_commit_timestamp = on');
  await client.end();
  if (rows[0]?.setting === 'on') return;
  await servers.postgres.stop('fast');
  await servers.postgres.start();
}

/** Ctrl-C and its like. */
function interruption() {
  const controller = new AbortController();
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  let reject!: (error: Error) => void;
  const happened = new Promise<never>((_, fail) => (reject = fail));
  happened.catch(() => undefined);
  const listener = () => {
    if (controller.signal.aborted) process.exit(130); // watchdogs end what is left
    const error = new Error('Interrupted: everything that was started is being ended.');
    controller.abort(error);
    reject(error);
  };
  for (const signal of signals) process.on(signal, listener);
  return {
    signal: controller.signal,
    happened,
    forget: () => {
      for (const signal of signals) process.off(signal, listener);
    },
  };
}

/** Failures of this tool are for who works on it. */
function describe(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
