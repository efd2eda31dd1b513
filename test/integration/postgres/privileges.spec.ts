import { randomBytes, randomUUID } from 'node:crypto';
import pg from 'pg';
import type { PostgresLedger } from '../../../lib/postgres/postgres-ledger.js';
import type { TransactionClient } from '../../../lib/postgres/transaction-client.js';
import { givenKey, positionKey } from '../../../lib/messages/idempotency-key.js';
import { always, claimOf, newLane, nothing } from '../../support/ledger-lane.js';
import { databaseUrl, LedgerSchema } from '../../support/ledger-schema.js';

/** As the README gives it to operators, for the role that applications connect as. */
const APPLICATION = [
  'grant usage on schema {schema} to {role}',
  'grant select on {schema}.schema_migration to {role}',
  'grant select, insert on {schema}.scope, {schema}.redriven to {role}',
  'grant select, insert, update on {schema}.fence to {role}',
  `grant select, insert, update, delete on {schema}.execution, {schema}.failure, {schema}.reply, {schema}.dead_letter,
    {schema}.outbox, {schema}.instance, {schema}.member, {schema}.claim, {schema}.step,
    {schema}.retry, {schema}.parked_head, {schema}.parked_letter to {role}`,
  'grant select, update on {schema}.pruning to {role}',
  'grant usage on sequence {schema}.fence_epoch to {role}',
];

/** And for people who look on. */
const READER = [
  'grant usage on schema {schema} to {role}',
  `grant select on {schema}.executions, {schema}.dead_letters, {schema}.fences, {schema}.undispatched,
    {schema}.instances, {schema}.members, {schema}.claims, {schema}.steps,
    {schema}.retries, {schema}.parked_sequences, {schema}.parked_letters to {role}`,
];

describe('privileges', () => {
  let schema: LedgerSchema;
  let role: string;
  let url: string;

  beforeEach(async () => {
    schema = new LedgerSchema();
    role = `ledger_role_${randomBytes(4).toString('hex')}`;
    await schema.query(`create role ${role} login password 'pw'`);
    const parts = new URL(databaseUrl());
    parts.username = role;
    parts.password = 'pw';
    url = parts.href;
    await schema.open();
  });

  afterEach(async () => {
    await schema.query(`drop owned by ${role}`);
    await schema.dispose();
    const other = new pg.Client(databaseUrl());
    await other.connect();
    await other.query(`drop role ${role}`);
    await other.end();
  });

  const grant = async (statements: readonly string[]) => {
    for (const statement of statements) await schema.query(statement.replaceAll('{role}', role));
  };

  /** Everything that an application does with its ledger. */
  const work = async (ledger: PostgresLedger) => {
    const { fence } = await ledger.takeFence(newLane(), always);
    const { lane } = fence;
    const outbox = () => ({
      id: randomUUID(),
      topic: 'out',
      partition: null,
      key: null,
      value: Buffer.from('v'),
      headers: [],
    });
    const transaction = ledger.transaction();
    const claims = ['a', 'b'].map((key, offset) => claimOf(key, offset));
    expect(await transaction.claim({ fence, advanceTo: 2n, executions: claims })).toEqual([
      'claimed',
      'claimed',
    ]);
    await (transaction.client as TransactionClient).query('select 1');
    await transaction.commit({
      releases: [{ fence, keys: [claims[1]!.key], nextOffset: 1n }],
      replies: [{ scope: lane.scope, key: claims[0]!.key, body: Buffer.from('r') }],
      outbox: [
        { lane, record: outbox() },
        { lane: null, record: outbox() },
      ],
    });
    const conclusion = {
      fence,
      isShared: false,
      attempts: 1,
      error: { name: 'Error', message: 'no' },
      reply: Buffer.from('no'),
      outbox: outbox(),
    };
    const letter = { reason: 'exhausted', timestamp: 0, key: null, value: null, headers: [] };
    const failed = claimOf('c', 2);
    await ledger.conclude({ ...conclusion, execution: failed, state: 'failed', deadLetter: null });
    await ledger.conclude({
      ...conclusion,
      execution: claimOf('c', 3),
      state: 'failed',
      deadLetter: null,
      outbox: outbox(),
    });
    await ledger.conclude({
      ...conclusion,
      execution: claimOf('d', 4),
      state: 'dead',
      deadLetter: letter,
      outbox: outbox(),
    });
    await ledger.failures.note(fence, { offset: 9n, failures: 1, error: conclusion.error });
    expect(await ledger.failures.find(fence, 0n)).toHaveLength(1);
    await ledger.failures.forget(lane, [9n]);
    expect(await ledger.redrives.count({})).toMatchObject([{ records: 1 }]);
    expect((await ledger.redrives.redrive({}, 10, undefined, () => undefined)).left).toBe(1);
    const place = { scope: lane.scope, key: undefined, topic: lane.topic, partition: lane.partition };
    const found = { ...place, offset: 4n, timestamp: letter.timestamp, record: outbox() };
    expect(await ledger.redrives.redriveLetters([found], true)).toEqual(['redriven']);
    const again = ledger.transaction();
    await again.claim({ fence, advanceTo: 6n, executions: [claimOf('c', 5)] });
    await again.reclaim(fence, claimOf('c', 5));
    await again.commit(nothing);
    expect((await ledger.findReplies(lane.scope, [claims[0]!.key])).size).toBe(1);
    expect((await ledger.takeFence(lane, always)).undispatched).toHaveLength(4);
    await claimsAndSteps(ledger);
    await parking(ledger);
    await ledger.ping();
    expect(await ledger.reader.find([givenKey('given', 'd', 'a test').encoded], {})).toHaveLength(1);
    expect((await ledger.reader.list({}, 10, undefined)).executions).toHaveLength(4);
    expect(await ledger.reader.counts({})).toMatchObject([{ completed: 3, dead: 1 }]);
    expect((await ledger.reader.outboxLag()).records).toBe(5);
    await ledger.care.beat();
    const member = { groupId: lane.scope.group, memberId: 'm' };
    expect(await ledger.members.announce([member], [lane.scope.group])).toEqual([]);
    expect(await ledger.members.obstructions([lane.scope.group])).toEqual([]);
    expect(await ledger.members.endTransactions(lane.scope.group, 'nobody')).toBe(0);
    await ledger.members.forget(member);
    await ledger.members.withdraw();
    const bounds = { settled: -1_000, abandoned: -1_000, silence: 0, limit: 10 };
    const swept = await ledger.care.sweep(bounds, 0n, async (records) => records.map(({ id }) => id));
    expect(swept.produced).toBe(5);
    expect((await ledger.care.prune({ keys: -1_000, messageIds: -1_000 }, 100)).deleted).toBe(4);
  };

  /** Everything of claim mode; leaves nothing but a claim in work, of another group. */
  const claimsAndSteps = async (ledger: PostgresLedger) => {
    const { fence } = await ledger.takeFence(newLane(), always);
    const held = { fence, token: randomUUID() };
    const { scope } = fence.lane;
    const [a, b] = [claimOf('x', 0), claimOf('y', 1)] as const;
    expect(await ledger.claims.claim(held, [a, b], 0)).toEqual(['claimed', 'claimed']);
    const step = { position: 0, name: 'charge', result: Buffer.from('r') };
    await ledger.steps.record({ scope, key: a.key, step, token: held.token });
    expect(await ledger.steps.find(scope, a.key)).toEqual([step]);
    await ledger.claims.renew([held.token], 0);
    expect(await ledger.claims.claim(held, [a], 60_000)).toEqual(['resumed']);
    expect(await ledger.reader.inWork(scope, 10)).toHaveLength(2);
    await ledger.claims.release(held.token, [a.key, b.key]);
    const ending = {
      fence,
      isShared: false,
      attempts: 1,
      error: { name: 'Error', message: 'no' },
      reply: null,
      outbox: null,
      deadLetter: null,
    };
    await ledger.conclude({ ...ending, execution: a, state: 'failed' });
    await ledger.claims.reclaim(held, a, 60_000);
    const completed = [{ execution: a, reply: undefined, outbox: [] }];
    expect(await ledger.claims.complete({ ...held, completed, nextOffset: 1n })).toEqual([]);
  };

  /** A log that lost its end; leaves what was claimed of it, moved. */
  const truncation = async (ledger: PostgresLedger) => {
    const lane = newLane();
    const { fence } = await ledger.takeFence(lane, always);
    const { encoded: key } = positionKey(lane.topicId, lane.partition, 6n);
    const lost = { ...claimOf('lost', 6), key };
    await ledger.claims.claim({ fence, token: randomUUID() }, [lost], 60_000);
    const { group } = lane.scope;
    expect(await ledger.truncations.lanesOf({ group, topicId: lane.topicId, partition: 0 })).toEqual([lane]);
    await ledger.truncations.lower(fence, 5n);
  };

  /** Everything about parked records; leaves none. */
  const parking = async (ledger: PostgresLedger) => {
    const { fence } = await ledger.takeFence(newLane(), always);
    const { scope, topic, partition } = fence.lane;
    const sequence = Buffer.from('ka');
    const letter = { sequence, offset: 0n, timestamp: 0, key: null, value: null, headers: [] };
    const error = { name: 'Error', message: 'no' };
    const facts = { failures: 1, age: 0, error, retryAfter: 0, maxSequences: 1 };
    await ledger.parking.park({ fence, isShared: false, letter, ...facts });
    expect(await ledger.parking.partitionsOf(scope.group, [fence.lane])).toHaveLength(1);
    await ledger.parking.postpone(fence.lane, { ...letter, retries: 0, failures: 2, error, retryAfter: 0 });
    expect(await ledger.parking.retry(scope)).toBe(1);
    const [head] = await ledger.parking.list(scope, 1, undefined);
    expect(await ledger.parking.order(head!.id, { state: 'skipped', reason: 'no' }, true)).toBe(true);
    expect((await ledger.parking.due(scope.group, topic, partition, 1)).heads).toHaveLength(1);
    const transaction = ledger.transaction();
    await transaction.claim({ fence, advanceTo: 1n, executions: [] });
    await transaction.commit({ ...nothing, parking: [{ fence, appended: [], removed: [letter] }] });
  };

  it('of the documented role are enough for everything but migrations', async () => {
    await grant(APPLICATION);
    const ledger = await schema.open({ connection: url, migrate: false });
    await work(ledger);
    await truncation(ledger);
    await ledger.close();
    // With nothing to migrate, asking for it is fine too.
    await (await schema.open({ connection: url })).close();
  });

  it('of the documented role do not reach the schema itself', async () => {
    await grant(APPLICATION);
    const client = new pg.Client(url);
    await client.connect();
    try {
      for (const statement of [
        'create table {schema}.mine ()',
        'drop table {schema}.outbox',
        'alter table {schema}.execution add column x int',
        'truncate {schema}.execution',
        'delete from {schema}.schema_migration',
        'delete from {schema}.fence',
      ]) {
        await expect(client.query(statement.replaceAll('{schema}', schema.quoted))).rejects.toThrow(
          /permission denied|must be owner/,
        );
      }
    } finally {
      await client.end();
    }
  });

  it.each(APPLICATION.slice(1).map((statement) => [statement.replaceAll(/\s+/g, ' ')] as const))(
    'cannot do without: %s',
    async (missing) => {
      await grant(APPLICATION.filter((statement) => statement.replaceAll(/\s+/g, ' ') !== missing));
      const all = async () => {
        const ledger = await schema.open({ connection: url, migrate: false });
        await work(ledger);
      };
      await expect(all()).rejects.toThrow(/permission denied/);
    },
  );

  it('of readers show the views and nothing else', async () => {
    await work(await schema.open());
    await grant(READER);
    const client = new pg.Client(url);
    await client.connect();
    try {
      for (const view of [
        'executions',
        'dead_letters',
        'fences',
        'undispatched',
        'instances',
        'claims',
        'steps',
        'members',
        'retries',
        'parked_sequences',
        'parked_letters',
      ]) {
        await client.query(`select * from ${schema.quoted}.${view}`);
      }
      await expect(client.query(`select * from ${schema.quoted}.execution`)).rejects.toThrow(
        /permission denied/,
      );
    } finally {
      await client.end();
    }
  });
});
