import { randomUUID } from 'node:crypto';
import { unpackHeaders } from '../../../lib/messages/header-packing.js';
import { givenKey, positionKey } from '../../../lib/messages/idempotency-key.js';
import { describeKey } from '../../../lib/messages/idempotency-key.js';
import type { RecordHeader } from '../../../lib/messages/record.js';
import { always, claimOf, newLane, nothing } from '../../support/ledger-lane.js';
import { LedgerSchema } from '../../support/ledger-schema.js';

describe('the views for readers', () => {
  let schema: LedgerSchema;
  beforeEach(() => {
    schema = new LedgerSchema();
  });
  afterEach(() => schema.dispose());

  it('show keys as people wrote them', async () => {
    const ledger = await schema.open();
    const { fence } = await ledger.takeFence(newLane(), always);
    const uuid = randomUUID();
    const keys = [
      givenKey('given', 'order-1 schlüssel', 'a test'),
      givenKey('given', uuid, 'a test'),
      givenKey('message-id', uuid, 'a test'),
      givenKey('message-id', 'other', 'a test'),
      givenKey('given', Buffer.from('ff00805c41c3', 'hex'), 'a test'),
      givenKey('message-id', Buffer.from('a\0b'), 'a test'),
      positionKey(fence.lane.topicId, 2 ** 31 - 1, 2n ** 40n),
    ];
    const transaction = ledger.transaction();
    await transaction.claim({
      fence,
      advanceTo: 9n,
      executions: keys.map(({ encoded }, index) => ({
        key: encoded,
        fingerprint: 0n,
        offset: BigInt(index),
      })),
    });
    await transaction.commit(nothing);
    const rows = await schema.query(
      'select key, key_kind, state, topic, consumer_group from {schema}.executions order by record_offset',
    );
    expect(rows).toEqual(
      keys.map(({ kind, encoded }) => ({
        key: describeKey(encoded),
        key_kind: kind,
        state: 'completed',
        topic: 'orders',
        consumer_group: 'billing',
      })),
    );
    expect(await schema.query('select next_offset, partition, handler from {schema}.fences')).toEqual([
      { next_offset: '9', partition: 0, handler: 'Orders.onPlaced' },
    ]);
  });

  it('survive keys that are no text', async () => {
    const ledger = await schema.open();
    const { fence } = await ledger.takeFence(newLane(), always);
    const transaction = ledger.transaction();
    const keys = [
      Buffer.from([0x67, 0xff, 0x00]),
      Buffer.from([0x47, 1]),
      Buffer.from([0x70]),
      Buffer.alloc(0),
    ];
    await transaction.claim({
      fence,
      advanceTo: 1n,
      executions: keys.map((key) => ({ key, fingerprint: 0n, offset: 0n })),
    });
    await transaction.commit(nothing);
    expect(await schema.query('select key, key_kind from {schema}.executions')).toHaveLength(keys.length);
  });

  it('show a dead record with why it died and all its bytes', async () => {
    const ledger = await schema.open();
    const { fence } = await ledger.takeFence(newLane(), always);
    const headers: RecordHeader[] = [
      ['same', Buffer.from([0xff])],
      ['same', null],
    ];
    await ledger.conclude({
      fence,
      isShared: false,
      execution: claimOf('k', 41),
      state: 'dead',
      attempts: 10,
      error: { name: 'TypeError', message: 'no \0 such account' },
      reply: null,
      deadLetter: {
        reason: 'exhausted',
        timestamp: 1_700_000_000_123,
        key: Buffer.from('key'),
        value: Buffer.from([0, 0xff]),
        headers,
      },
      outbox: null,
    });
    const [row] = await schema.query<Record<string, unknown>>('select * from {schema}.dead_letters');
    expect(row).toMatchObject({
      key: 'k',
      reason: 'exhausted',
      attempts: 10,
      error_name: 'TypeError',
      error_message: 'no \u{fffd} such account',
      topic: 'orders',
      record_offset: '41',
      record_timestamp: new Date(1_700_000_000_123),
      record_key: Buffer.from('key'),
      record_value: Buffer.from([0, 0xff]),
    });
    expect(unpackHeaders(row!['packed_headers'] as Buffer)).toEqual(headers);
  });

  it('show what is still to be produced', async () => {
    const ledger = await schema.open();
    const { fence } = await ledger.takeFence(newLane(), always);
    const record = {
      id: randomUUID(),
      topic: 'invoices',
      partition: null,
      key: null,
      value: null,
      headers: [],
    };
    const transaction = ledger.transaction();
    await transaction.claim({ fence, advanceTo: 1n, executions: [] });
    await transaction.commit({ ...nothing, outbox: [{ lane: fence.lane, record }] });
    expect(await schema.query('select id, topic from {schema}.undispatched')).toEqual([
      { id: record.id, topic: 'invoices' },
    ]);
  });
});
