import { execFile } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import pg from 'pg';
import { BrokerFixture, brokers } from '../support/broker-fixture.js';
import { databaseUrl } from '../support/ledger-schema.js';
import { codeBlocks } from '../support/readme.js';

const run = promisify(execFile);
const root = fileURLToPath(new URL('../..', import.meta.url));
const fixture = new BrokerFixture();
let folder: string;
let tarball: string;
let packed: string[];

beforeAll(async () => {
  await fixture.connect();
  folder = await mkdtemp(join(tmpdir(), 'package-test-'));
  const { stdout } = await npm(root, 'pack', '--json', '--ignore-scripts', '--pack-destination', folder);
  const [{ filename, files }] = JSON.parse(stdout) as [{ filename: string; files: { path: string }[] }];
  tarball = join(folder, filename);
  packed = files.map(({ path }) => path);
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
  await fixture.dispose();
});

function npm(cwd: string, ...args: string[]) {
  return run('npm', args, { cwd, maxBuffer: 64 * 1024 * 1024, env: { ...process.env, NODE_OPTIONS: '' } });
}

function node(cwd: string, args: string[], env: Record<string, string> = {}) {
  return run(process.execPath, args, {
    cwd,
    timeout: 240_000,
    env: { ...process.env, NODE_OPTIONS: '', ...env },
  });
}

describe('the tarball', () => {
  it('has the build, the SQL files and what a package says about itself', () => {
    expect(packed).toEqual(expect.arrayContaining(['package.json', 'README.md', 'LICENSE', 'CHANGELOG.md']));
    for (const entry of ['index', 'register', 'testing/index']) {
      expect(packed).toEqual(expect.arrayContaining([`dist/${entry}.js`, `dist/${entry}.d.ts`]));
    }
    expect(packed.filter((path) => path.endsWith('.sql'))).toContain(
      'dist/postgres/migrations/0001_ledger.sql',
    );
  });

  it('has nothing else: no tests, no samples, no sources', () => {
    const others = packed.filter((path) => !/^dist\/.+\.(?:js|js\.map|d\.ts|sql)$/.test(path));
    expect(others.sort()).toEqual(['CHANGELOG.md', 'LICENSE', 'README.md', 'package.json']);
    expect(packed.filter((path) => /(?:^|\/)(?:test|sample|node_modules)\/|\.spec\./.test(path))).toEqual([]);
  });

  it('has source maps that carry or point to their sources', async () => {
    for (const path of packed.filter((each) => each.endsWith('.map'))) {
      const map = JSON.parse(await readFile(join(root, path), 'utf8')) as {
        sources: string[];
        sourcesContent?: (string | null)[];
      };
      map.sources.forEach((source, index) => {
        const file = relative(root, resolve(root, dirname(path), source));
        expect({ path, file, found: packed.includes(file) || Boolean(map.sourcesContent?.[index]) }).toEqual({
          ...{ path, file, found: true },
        });
      });
    }
  });
});

const projects = new Map<string, Promise<string>>();

/** A project with this package and nothing of this repository but the compiler; made once, whoever needs it. */
function project(nest: string, type: 'module' | 'commonjs'): Promise<string> {
  const name = `${nest} ${type}`;
  const made = projects.get(name) ?? createProject(nest, type);
  projects.set(name, made);
  return made;
}

async function createProject(nest: string, type: 'module' | 'commonjs'): Promise<string> {
  const cwd = await mkdtemp(join(folder, `nest-${nest}-`));
  const own = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as {
    peerDependencies: Record<string, string>;
  };
  const dependencies: Record<string, string> = {
    'nestjs-durable-kafka': `file:${tarball}`,
    'reflect-metadata': '^0.2.2',
    '@types/node': '^20',
    '@types/pg': '^8',
  };
  for (const [name, range] of Object.entries(own.peerDependencies)) {
    dependencies[name] = name.startsWith('@nestjs/') ? `^${nest}` : range;
  }
  await writeFile(
    join(cwd, 'package.json'),
    JSON.stringify({ name: 'user', private: true, type, dependencies }),
  );
  await writeFile(
    join(cwd, 'tsconfig.json'),
    JSON.stringify({ compilerOptions: COMPILER, files: ['service.ts'] }),
  );
  await copyFile(join(root, 'test/package/service.ts'), join(cwd, 'service.ts'));
  await copyFile(join(root, 'test/package/requires.cjs'), join(cwd, 'requires.cjs'));
  await npm(
    cwd,
    'install',
    '--prefer-offline',
    '--no-audit',
    '--no-fund',
    '--ignore-scripts',
    '--loglevel=error',
  );
  return cwd;
}

const COMPILER = {
  module: 'nodenext',
  target: 'es2022',
  strict: true,
  experimentalDecorators: true,
  emitDecoratorMetadata: true,
  strictPropertyInitialization: false,
  skipLibCheck: true,
  types: ['node'],
};

describe.each([
  ['12', 'module'],
  ['11', 'module'],
  ['11', 'commonjs'],
] as const)('a fresh project of Nest %s (%s)', (nest, type) => {
  let cwd: string;
  beforeAll(async () => {
    cwd = await project(nest, type);
  });

  it('type-checks against the public names, and handles and answers once', async () => {
    await run(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', cwd], { cwd }).catch(
      (error: { stdout: string }) => {
        throw new Error(error.stdout);
      },
    );
    const [events, requests] = [
      await fixture.topic('package-events'),
      await fixture.topic('package-requests', { reply: true }),
    ];
    const schema = fixture.schema();
    const client = new pg.Client({ connectionString: databaseUrl() });
    await client.connect();
    try {
      await client.query(`create schema "${schema}"; create table "${schema}".effect (id text)`);
      const env = {
        ...{ BROKERS: brokers()[0]!, DATABASE: databaseUrl(), SCHEMA: schema },
        ...{ EVENTS: events, REQUESTS: requests, GROUP: fixture.group() },
      };
      const { stdout, stderr } = await node(cwd, ['service.js'], env);
      expect(stderr.replaceAll(/.*(?:ExperimentalWarning|--trace-warnings).*\n/g, '')).toBe('');
      expect(JSON.parse(stdout.trimEnd().split('\n').at(-1)!)).toEqual({
        answer: { doubled: 42, attempt: 1, key: 'r' },
        again: { doubled: 42, attempt: 1, key: 'r' },
        client: true,
        explicit: true,
        context: true,
        names: ['NotDurable', 'DurableInterceptor', 'ReplyPartitionAssigner', 'ServerKafka'],
        error: true,
      });
      const { rows } = await client.query(`select id from "${schema}".effect`);
      expect(rows).toEqual([{ id: 'one' }]);
    } finally {
      await client.end();
    }
  });

  it('can require() the entries, and nothing behind them', async () => {
    const { stdout } = await node(cwd, ['requires.cjs']);
    expect(JSON.parse(stdout)).toEqual({
      types: ['function', 'function', 'function'],
      refused: Array.from({ length: 4 }, () => 'ERR_PACKAGE_PATH_NOT_EXPORTED'),
    });
  });
});

describe('a fresh CommonJS project of Nest 11 with ts-jest', () => {
  let cwd: string;
  beforeAll(async () => {
    cwd = await project('11', 'commonjs');
    const tools = ['jest@30', 'ts-jest@29', '@swc/jest', '@swc/core', '@types/jest@30', 'typescript@5.9'];
    await npm(cwd, 'install', '--prefer-offline', '--no-audit', '--no-fund', '--ignore-scripts', ...tools);
    const { text } = codeBlocks(await readFile(join(root, 'README.md'), 'utf8')).find((block) =>
      block.text.startsWith('// jest.config.js'),
    )!;
    await writeFile(join(cwd, 'jest.config.js'), text);
    await mkdir(join(cwd, 'src'));
    await copyFile(join(root, 'test/package/listener.ts'), join(cwd, 'src/listener.spec.ts'));
  });

  it.each([
    ['nodenext', 'nodenext'],
    ['commonjs', 'node10'],
  ])(
    'runs a test of handlers by the configuration of the README, as %s',
    async (module, moduleResolution) => {
      const compilerOptions = { ...COMPILER, module, moduleResolution, types: ['node', 'jest'] };
      await writeFile(join(cwd, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['src'] }));
      await node(cwd, ['node_modules/typescript/bin/tsc', '--noEmit']).catch((error: { stdout: string }) => {
        throw new Error(error.stdout);
      });
      const { stderr } = await node(cwd, ['node_modules/jest/bin/jest.js']);
      expect(stderr).toContain('1 passed, 1 total');
    },
  );
});
