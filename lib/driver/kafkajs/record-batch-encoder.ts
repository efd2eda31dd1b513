import type { OutgoingRecord } from '../../messages/record.js';
import { compress } from './compression.js';
import { crc32c } from './crc32c.js';
import { WireWriter } from './wire.js';

/** Who produces, for the broker to recognise a repeated batch. -1 everywhere without idempotence. */
export interface ProducerIdentity {
  readonly producerId: bigint;
  readonly producerEpoch: number;
}

export const NO_PRODUCER: ProducerIdentity = { producerId: -1n, producerEpoch: -1 };

const BASE_OFFSET_AND_LENGTH = 12;
const CRC_AT = 17;
const ATTRIBUTES_AT = 21;
const MAGIC = 2;

/** Bytes that a record takes at most in a batch, apart from its key, value and headers. */
const RECORD_OVERHEAD = 32;
const HEADER_OVERHEAD = 10;

/** An upper bound, cheap to compute, for keeping requests under the broker's limit. */
export function sizeOf({ key, value, headers }: OutgoingRecord): number {
  let size = RECORD_OVERHEAD + (key?.length ?? 0) + (value?.length ?? 0);
  for (const [name, content] of headers) size += HEADER_OVERHEAD + name.length * 3 + (content?.length ?? 0);
  return size;
}

/** One batch of format 2. Header names may repeat; header values, keys and values may be `null`. */
export async function encodeBatch(
  records: readonly OutgoingRecord[],
  now: number,
  compression: number,
  { producerId, producerEpoch }: ProducerIdentity,
  firstSequence: number,
): Promise<Buffer> {
  const firstTimestamp = records[0]!.timestamp ?? now;
  let maxTimestamp = firstTimestamp;
  for (const { timestamp } of records) maxTimestamp = Math.max(maxTimestamp, timestamp ?? now);

  const batch = new WireWriter(512 + records.length * 64);
  batch.int64(0n).int32(0).int32(-1).int8(MAGIC).int32(0); // length and checksum follow
  batch.int16(compression).int32(records.length - 1);
  batch.int64(BigInt(firstTimestamp)).int64(BigInt(maxTimestamp));
  batch.int64(producerId).int16(producerEpoch).int32(firstSequence).int32(records.length);
  if (compression === 0) writeRecords(batch, records, now, firstTimestamp);
  else {
    const plain = new WireWriter(512 + records.length * 64);
    writeRecords(plain, records, now, firstTimestamp);
    batch.raw(await compress(compression, plain.buffer));
  }
  batch.patchInt32(8, batch.length - BASE_OFFSET_AND_LENGTH);
  batch.patchInt32(CRC_AT, crc32c(batch.buffer.subarray(ATTRIBUTES_AT)));
  return batch.buffer;
}

function writeRecords(
  to: WireWriter,
  records: readonly OutgoingRecord[],
  now: number,
  firstTimestamp: number,
): void {
  const body = new WireWriter(1024);
  for (let index = 0; index < records.length; index++) {
    const { key, value, headers, timestamp } = records[index]!;
    body.reset();
    body
      .int8(0)
      .varlong((timestamp ?? now) - firstTimestamp)
      .varint(index);
    body.varintBytes(key).varintBytes(value).varint(headers.length);
    for (const [name, content] of headers) body.varintString(name).varintBytes(content);
    to.varint(body.length).raw(body.buffer);
  }
}
