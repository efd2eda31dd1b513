import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import pg from 'pg';
import { ERROR_CODES } from '../../lib/errors/kafka-transport.error.js';
import { InvalidOptionError, kafkaServer, type KafkaTransportOptions } from '../../lib/index.js';
import * as errors from '../../lib/errors/errors.js';
import { resolveOptions } from '../../lib/transport/resolve-options.js';
import { BrokerFixture, brokers } from '../support/broker-fixture.js';
import { databaseUrl } from '../support/ledger-schema.js';
import { Program } from '../support/program.js';
import { codeBlocks, CompileFolder, names, propertiesOf, ROOT, tableAfter } from '../support/readme.js';
import { eventually } from '../support/eventually.js';

const PATIENCE = 100_000;
const STARTED = 'Nest microservice successfully started';
const TOPICS = ['price.changed', 'price.get', 'order.placed', 'invoice.created'];
const GROUPS = ['prices', 'billing', 'shop'];

/** Asks the shop of the README until the price is known. */
const ASK = `
import { NestFactory } from '@nestjs/core';
import { Shop, ShopModule } from './shop.module.js';

const app = await NestFactory.createApplicationContext(ShopModule, { logger: ['error'] });
let price = await app.get(Shop).price('apple');
for (let tries = 0; price.cents === null && tries < 100; tries++) price = await app.get(Shop).price('apple');
console.log(JSON.stringify(price));
await app.close();
`;

const markdown = await readFile(join(ROOT, 'README.md'), 'utf8');
const blocks = codeBlocks(markdown);
const sql = blocks.filter(({ language }) => language === 'sql').map(({ text }) => text);

describe('the examples of the README', () => {
  const fixture = new BrokerFixture();
  const database = `readme_${fixture.id}`;
  const role = `billing_app_${fixture.id}`;
  const url = new URL(databaseUrl());
  url.pathname = `/${database}`;
  const processes: Program[] = [];
  const topics = new Map<string, string>();
  const groups = new Map<string, string>();
  let folder: CompileFolder;
  let complaints: string[];
  let pool: pg.Pool;

  beforeAll(async () => {
    await fixture.connect();
    for (const topic of TOPICS) topics.set(topic, fixture.topicName(topic.replace('.', '-')));
    for (const group of GROUPS) groups.set(group, fixture.group(group));
    await server(`create database ${database}`);
    pool = new pg.Pool({ connectionString: String(url), max: 2 });
    folder = await CompileFolder.create();
    const files = new Map([['ask.ts', ASK]]);
    for (const { language, file, text } of blocks) if (language === 'ts') files.set(file!, renamed(text));
    complaints = await folder.compile(files);
  });

  afterAll(async () => {
    for (const each of processes) await each.terminate();
    await folder?.dispose();
    await pool?.end();
    await server(`drop database if exists ${database} with (force)`);
    await server(`drop role if exists ${role}, ${role}_reader`);
    await fixture.dispose();
  });

  async function server(statement: string): Promise<void> {
    const client = new pg.Client({ connectionString: databaseUrl() });
    await client.connect();
    await client.query(statement).finally(() => client.end());
  }

  /** With names that nobody else uses, on the servers of this run. */
  function renamed(text: string): string {
    let result = text.replaceAll(
      "'localhost:9092'",
      brokers()
        .map((broker) => `'${broker}'`)
        .join(', '),
    );
    for (const [name, own] of topics) result = result.replaceAll(`'${name}'`, `'${own}'`);
    for (const [name, own] of groups) {
      result = result
        .replaceAll(`groupId: '${name}'`, `groupId: '${own}'`)
        .replaceAll(`'${name}-server'`, `'${own}-server'`);
    }
    return result.replaceAll('billing_app', role);
  }

  function run(file: string, connection = String(url)): Program {
    const child = new Program(pathToFileURL(join(folder.path, file.replace(/\.ts$/, '.js'))), {
      DATABASE_URL: connection,
    });
    processes.push(child);
    return child;
  }

  async function place(id: string): Promise<void> {
    const value = Buffer.from(JSON.stringify({ id, total: 5 }));
    const headers = [['idempotency-key', Buffer.from(id)]] as const;
    await fixture.produce({ topic: topics.get('order.placed')!, key: null, value, headers });
  }

  it('have names, each its own', () => {
    const files = blocks.filter(({ language }) => language === 'ts').map(({ file }) => file);
    expect(files).not.toContain(undefined);
    expect(new Set(files).size).toBe(files.length);
  });

  it('are accepted by the compiler', () => {
    expect(complaints).toEqual([]);
  });

  it('answer the shop with the price that was announced', async () => {
    const prices = run('prices.ts');
    await prices.printed(STARTED);
    const value = Buffer.from(JSON.stringify({ article: 'apple', cents: 30 }));
    await fixture.produce({ topic: topics.get('price.changed')!, key: null, value, headers: [] });
    const ask = run('ask.ts');
    expect({ end: (await ask.end(PATIENCE)).code, output: ask.output.trim() }).toEqual({
      end: 0,
      output: '{"article":"apple","cents":30}',
    });
    await prices.terminate();
  });

  it('bill each order once, and run as the SQL says', async () => {
    const [createInvoice, ...others] = sql;
    await pool.query(createInvoice!);
    const billing = run('billing.ts');
    await billing.printed(STARTED);
    for (const id of ['order-17', 'order-17', 'order-18', 'order-17']) await place(id);
    await eventually(async () => {
      return (await fixture.committed(groups.get('billing')!, topics.get('order.placed')!)) === 4;
    });
    expect(await invoices()).toEqual(['order-17', 'order-18']);
    const created = await fixture.read(topics.get('invoice.created')!);
    expect(created.map(({ key }) => String(key))).toEqual(['order-17', 'order-18']);
    await billing.terminate();

    const results = new Map<string, pg.QueryResult>();
    for (const text of others) {
      // A block of several statements has a list of results; no block of queries has more than one.
      results.set(text, await pool.query(renamed(text)));
    }
    const answer = (part: string) => [...results].find(([text]) => text.includes(part))![1].rows as unknown[];
    expect(answer('count(*)\nfrom durable_kafka.executions')).toEqual([
      { handler: 'BillingController.onPlaced', state: 'completed', count: '2' },
    ]);
    expect(answer("key = 'order-17'")).toMatchObject([{ state: 'completed', record_offset: '0' }]);
    expect(answer('durable_kafka.fences')).toMatchObject([{ next_offset: '4' }]);
    expect(answer('durable_kafka.undispatched')).toEqual([]);
  });

  it('work for a user with the privileges that are listed, and no others', async () => {
    await pool.query(`alter role ${role} password 'secret'`);
    const restricted = new URL(url);
    restricted.username = role;
    restricted.password = 'secret';
    const billing = run('billing.ts', String(restricted));
    await billing.printed(STARTED);
    await place('order-19');
    await eventually(async () => (await invoices()).includes('order-19'));
    await billing.terminate();
    await pool.query(`drop owned by ${role}`);
  });

  it('may be CommonJS', async () => {
    await writeFile(
      join(folder.path, 'common.cjs'),
      "console.log(Object.keys(require('nestjs-durable-kafka')).length);",
    );
    const common = run('common.cjs');
    expect((await common.end(PATIENCE)).code).toBe(0);
    expect(Number(common.output)).toBeGreaterThan(20);
  });

  it('test handlers without servers', async () => {
    const test = run('prices.test.ts');
    expect({ end: (await test.end(PATIENCE)).code, output: test.output }).toEqual({ end: 0, output: '' });
  });

  async function invoices(): Promise<string[]> {
    const { rows } = await pool.query<{ order_id: string }>('select order_id from invoice order by order_id');
    return rows.map((row) => row.order_id);
  }
});

describe('the commands of the README', () => {
  const lines = blocks
    .filter(({ language }) => language === 'sh')
    .flatMap(({ text }) => text.trim().split('\n'));

  it('are there', async () => {
    const { scripts } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as {
      scripts: Record<string, string>;
    };
    const used = lines.flatMap((line) =>
      [...line.matchAll(/npm (?:run )?([a-z]+)/g)].map(([, name]) => name!),
    );
    expect(used.filter((name) => name !== 'ci' && !(name in scripts))).toEqual([]);
    expect(used).toEqual(expect.arrayContaining(['start', 'test']));
  });

  it('find their compose file', () => {
    expect(lines.some((line) => line.startsWith('docker compose'))).toBe(true);
    expect(existsSync(join(ROOT, 'docker-compose.yml'))).toBe(true);
  });
});

describe('the tables of the README', () => {
  it("list the transport's options, all of them and no others", () => {
    const listed = tableAfter(markdown, 'Options of `kafkaServer()`').flatMap(([cell]) => names(cell!));
    const known = propertiesOf('lib/transport/kafka-transport.options.ts', 'KafkaTransportOptions');
    expect([...listed].sort()).toEqual([...known].sort());
    for (const name of listed)
      expect(() => kafkaServer({ [name]: undefined } as KafkaTransportOptions)).not.toThrow();
    expect(() => kafkaServer({ order: 'key' } as KafkaTransportOptions)).toThrow(InvalidOptionError);
  });

  it('tell the defaults of numbers as they are', () => {
    const { engine, ...resolved } = resolveOptions({}, 'server');
    const defaults: Record<string, unknown> = { ...engine, ...resolved };
    const rows = tableAfter(markdown, 'Options of `kafkaServer()`').filter(([, value]) =>
      /^\d+$/.test(value!),
    );
    expect(rows.map(([cell]) => names(cell!)[0])).toContain('requestTimeout');
    for (const [cell, value] of rows)
      expect([cell, defaults[names(cell!)[0]!]]).toEqual([cell, Number(value)]);
    const [, retry] = tableAfter(markdown, 'Options of `kafkaServer()`').find(
      ([cell]) => cell === '`retry`',
    )!;
    for (const [name, value] of Object.entries(engine.retry)) expect(retry).toContain(`${name}: ${value}`);
  });

  it("list the durable module's options, all of them and no others", () => {
    const listed = tableAfter(markdown, 'Options of `DurableModule.forRoot()`').flatMap(([cell]) =>
      names(cell!),
    );
    const known = propertiesOf('lib/durable/durable.options.ts', 'DurableModuleOptions');
    expect([...listed].sort()).toEqual([...known].sort());
  });

  it('list the errors, all codes with their classes', () => {
    const rows = tableAfter(markdown, '## Errors').map((cells) =>
      cells.slice(0, 2).flatMap((cell) => names(cell)),
    );
    expect(rows.map(([code]) => code)).toEqual([...ERROR_CODES]);
    for (const [code, name] of rows) {
      const type = (errors as unknown as Record<string, new (...args: unknown[]) => { code: string }>)[name!];
      expect([name, new type!('', '').code]).toEqual([name, code]);
    }
  });
});

describe('the links of the README', () => {
  const targets = [...markdown.matchAll(/\]\(([^)\s]+)\)/g)].map(([, target]) => target!);

  it('lead to files that exist', () => {
    const files = targets.filter((target) => !target.startsWith('#') && !/^https?:/.test(target));
    expect(files.filter((file) => !existsSync(join(ROOT, file.replace(/#.*/, ''))))).toEqual([]);
  });

  it('lead to headings that exist', () => {
    const headings = [...markdown.matchAll(/^#+ (.+)$/gm)].map(([, title]) =>
      title!
        .toLowerCase()
        .replaceAll(/[^\w -]/g, '')
        .replaceAll(' ', '-'),
    );
    const anchors = targets.filter((target) => target.startsWith('#')).map((target) => target.slice(1));
    expect(anchors.filter((anchor) => !headings.includes(anchor))).toEqual([]);
  });
});
