import { InvalidRecordError } from '../../../../lib/errors/errors.js';
import { crc32c } from '../../../../lib/driver/kafkajs/crc32c.js';
import {
  type AbortedTransaction,
  FetchedBatches,
  NO_ROOM,
} from '../../../../lib/driver/kafkajs/record-batch.js';
import { encodeBatch, NO_PRODUCER } from '../../../../lib/driver/kafkajs/record-batch-encoder.js';
import type { OutgoingRecord } from '../../../../lib/messages/record.js';

const of = { topic: 't', partition: 3 };
const outgoing = (more: Partial<OutgoingRecord> = {}): OutgoingRecord => ({
  ...{ topic: 't', key: Buffer.from('k'), value: Buffer.from('v'), headers: [], timestamp: 1_000 },
  ...more,
});

/** A batch as a broker would store it from `baseOffset` on. */
async function stored(records: OutgoingRecord[], baseOffset = 0n, compression = 0): Promise<Buffer> {
  const bytes = Buffer.from(await encodeBatch(records, 5_000, compression, NO_PRODUCER, -1));
  bytes.writeBigInt64BE(baseOffset, 0);
  return bytes;
}

const GZIP = 1;
const ATTRIBUTES_AT = 21;
const PRODUCER_AT = 43;
const RECORDS_AT = 61;

function transactional(batch: Buffer, producerId: bigint): Buffer {
  batch.writeInt16BE(batch.readInt16BE(ATTRIBUTES_AT) | 0x10, ATTRIBUTES_AT);
  batch.writeBigInt64BE(producerId, PRODUCER_AT);
  return batch;
}

/** The same place in the log with a control record in it: length, attributes, two deltas, key [version, type 0]. */
function abortMarker(batch: Buffer): Buffer {
  const head = Buffer.from(batch.subarray(0, RECORDS_AT));
  head.writeInt16BE(0x30, ATTRIBUTES_AT);
  const record = Buffer.from([18, 0, 0, 0, 8, 0, 0, 0, 0, 1]);
  head.writeInt32BE(RECORDS_AT + record.length - 12, 8);
  return Buffer.concat([head, record]);
}

async function decodeRecords(
  bytes: Buffer,
  where: typeof of,
  from: bigint,
  aborted: readonly AbortedTransaction[] | null,
) {
  const batches = new FetchedBatches(bytes, where, from, aborted);
  const records = await batches.next(Infinity);
  return { records, nextOffset: batches.nextOffset };
}

describe('record batches', () => {
  it('have the checksum of the Castagnoli polynomial', () => {
    expect(crc32c(Buffer.from('123456789')) >>> 0).toBe(0xe3069283);
    expect(crc32c(Buffer.alloc(32)) >>> 0).toBe(0x8a9136aa);
  });

  it('come back as they went in, whatever the distance of their timestamps', async () => {
    const records = [
      outgoing({ timestamp: 1_700_000_000_000 }),
      outgoing({ timestamp: 1, key: null, value: null }),
      outgoing({
        timestamp: 4_000_000_000_000,
        headers: [
          ['a', null],
          ['a', Buffer.alloc(300, 1)],
        ],
      }),
      outgoing({ timestamp: undefined }),
    ];
    const { records: decoded, nextOffset } = await decodeRecords(
      await stored(records, 2n ** 40n),
      of,
      0n,
      null,
    );
    expect(nextOffset).toBe(2n ** 40n + 4n);
    expect(decoded).toEqual(
      records.map(({ key, value, headers, timestamp }, index) => ({
        ...of,
        ...{ offset: 2n ** 40n + BigInt(index), timestamp: timestamp ?? 5_000, key, value, headers },
      })),
    );
  });

  it('tell of which leader they are', async () => {
    const bytes = await stored([outgoing({}), outgoing({})], 0n);
    const epochs = async () =>
      (await decodeRecords(bytes, of, 0n, null)).records.map(({ leaderEpoch }) => leaderEpoch);
    expect(await epochs()).toEqual([undefined, undefined]);
    bytes.writeInt32BE(7, 12);
    expect(await epochs()).toEqual([7, 7]);
  });

  it('start in the middle, and end where the answer was cut off', async () => {
    const bytes = Buffer.concat([
      await stored([outgoing(), outgoing()], 0n),
      await stored([outgoing(), outgoing()], 10n),
      (await stored([outgoing()], 12n)).subarray(0, -1),
    ]);
    const { records, nextOffset } = await decodeRecords(bytes, of, 1n, null);
    expect(records.map(({ offset }) => offset)).toEqual([1n, 10n, 11n]);
    expect(nextOffset).toBe(12n);
  });

  it('hold no bytes of the answer that they were decoded from', async () => {
    const bytes = await stored([outgoing({ headers: [['h', Buffer.from('x')]] })]);
    const [record] = (await decodeRecords(bytes, of, 0n, null)).records;
    bytes.fill(0);
    expect(record).toMatchObject({ key: Buffer.from('k'), value: Buffer.from('v') });
    expect(record!.headers).toEqual([['h', Buffer.from('x')]]);
  });

  it.each([
    ['as they are', 0],
    ['compressed', GZIP],
  ])(
    'are decoded as many at a time as asked for, also in the midst of a batch (%s)',
    async (_, compression) => {
      const answer = Buffer.concat([
        await stored([outgoing(), outgoing(), outgoing()], 0n, compression),
        await stored([outgoing(), outgoing()], 3n, compression),
        await stored([outgoing()], 9n, compression),
      ]);
      const batches = new FetchedBatches(answer, of, 0n, null);
      const next = async (most: number) => {
        const offsets = (await batches.next(most)).map(({ offset }) => offset);
        return { offsets, nextOffset: batches.nextOffset, ended: batches.ended };
      };
      expect(await next(2)).toEqual({ offsets: [0n, 1n], nextOffset: 2n, ended: false });
      batches.detach(NO_ROOM);
      answer.fill(0);
      expect(await next(2)).toEqual({ offsets: [2n, 3n], nextOffset: 4n, ended: false });
      batches.detach(NO_ROOM);
      expect(await next(1)).toEqual({ offsets: [4n], nextOffset: 5n, ended: false });
      batches.detach(NO_ROOM);
      expect(await next(2)).toEqual({ offsets: [9n], nextOffset: 10n, ended: true });
    },
  );

  it('wait in the room of those before them, if it is neither too small nor much too large', async () => {
    const answer = await stored([outgoing(), outgoing(), outgoing()]);
    const wait = async (room: Buffer) => {
      const batches = new FetchedBatches(answer, of, 0n, null);
      await batches.next(1);
      batches.detach(room);
      const before = batches.room;
      const offsets = (await batches.next(2)).map(({ offset }) => offset);
      expect({ offsets, ended: batches.ended }).toEqual({ offsets: [1n, 2n], ended: true });
      expect(batches.room).toBe(before);
      return before;
    };
    const room = await wait(NO_ROOM);
    expect(room.length).toBeLessThan(answer.length);
    expect(await wait(room)).toBe(room);
    expect(await wait(room.subarray(1))).toHaveLength(room.length);
    const large = Buffer.alloc(room.length * 4);
    expect(await wait(large)).toBe(large);
    expect(await wait(Buffer.alloc(room.length * 4 + 1))).toHaveLength(room.length);
  });

  it('are passed to their end where the last records of one were compacted away', async () => {
    const batch = await stored([outgoing(), outgoing(), outgoing()]);
    const shorter = Buffer.from(batch.subarray(0, RECORDS_AT + 2 * ((batch.length - RECORDS_AT) / 3)));
    shorter.writeInt32BE(shorter.length - 12, 8);
    shorter.writeInt32BE(2, 57);
    const batches = new FetchedBatches(shorter, of, 1n, null);
    expect((await batches.next(2)).map(({ offset }) => offset)).toEqual([1n]);
    expect({ nextOffset: batches.nextOffset, ended: batches.ended }).toEqual({ nextOffset: 3n, ended: true });
  });

  it('go on in the midst of an aborted transaction, and behind its end', async () => {
    const producerId = 7n;
    const open = async (baseOffset: bigint) =>
      transactional(await stored([outgoing()], baseOffset), producerId);
    const batches = new FetchedBatches(
      Buffer.concat([
        await open(0n),
        await stored([outgoing()], 1n),
        await open(2n),
        abortMarker(await open(3n)),
        await open(4n),
        await stored([outgoing()], 5n),
      ]),
      of,
      0n,
      [{ producerId, firstOffset: 0n }],
    );
    const offsets = async () => {
      const records = await batches.next(1);
      batches.detach(NO_ROOM);
      return records.map(({ offset }) => offset);
    };
    expect(await offsets()).toEqual([1n]);
    expect(await offsets()).toEqual([4n]); // another transaction of the same producer, which committed
    expect(await offsets()).toEqual([5n]);
    expect(batches.ended).toBe(true);
  });

  it('are refused, and not skipped, when they are damaged or older than Kafka 0.11', async () => {
    const good = await stored([outgoing({ headers: [['h', Buffer.from('x')]] })]);
    for (let at = 57; at < good.length; at++) {
      const bad = Buffer.from(good);
      bad[at] = bad[at]! ^ 0xff;
      const settled = await decodeRecords(bad, of, 0n, null).catch((error: unknown) => error);
      if (settled instanceof Error) expect(settled).toBeInstanceOf(InvalidRecordError);
    }
    const forged = Buffer.from(good);
    forged.writeInt32BE(2 ** 31 - 1, 57); // as many records as fit the count
    await expect(decodeRecords(forged, of, 0n, null)).rejects.toThrow(InvalidRecordError);
    const old = Buffer.from(good);
    old.writeInt8(1, 16);
    await expect(decodeRecords(old, of, 0n, null)).rejects.toThrow('message format 1');
  });
});
