/**
 * Decodes what a fetch brings: record batches of format 2, linear in their size. Keys, values and headers are copied
 * out, since a view would keep the whole response (megabytes) alive for as long as one record of it is held.
 * Checksums are not verified: TCP and the broker do.
 */
import { InvalidRecordError } from '../../errors/errors.js';
import type { KafkaRecord, RecordHeader, TopicPartition } from '../../messages/record.js';
import { partitionName } from '../../messages/record.js';
import { decompress } from './compression.js';

export interface AbortedTransaction {
  readonly producerId: bigint;
  readonly firstOffset: bigint;
}

const NO_HEADERS: readonly RecordHeader[] = Object.freeze([]);
const HEADER_BYTES = 12; // base offset and length
const MAGIC_AT = 16;
const RECORDS_AT = 61;
const COMPRESSION_MASK = 0x07;
const LOG_APPEND_TIME = 0x08;
const TRANSACTIONAL = 0x10;
const CONTROL = 0x20;
const ABORT_MARKER = 0;

/**
 * What a fetch brought for one partition, decoded a part at a time: as objects, thousands of records that wait cost much
 * more memory than as bytes, and the garbage collector more time.
 */
export class FetchedBatches {
  /** Behind all that was decoded. May move without a record: batches may be compacted, aborted or control. */
  nextOffset: bigint;
  private at = 0;
  private nextAborted = 0;
  private readonly aborting = new Set<bigint>();

  /**
   * @param from records below are left out (a batch may start earlier)
   * @param aborted aborted transactions, sorted by first offset; `null` reads uncommitted
   */
  constructor(
    private bytes: Buffer,
    private readonly of: TopicPartition,
    from: bigint,
    private readonly aborted: readonly AbortedTransaction[] | null,
  ) {
    this.nextOffset = from;
  }

  /** Nothing is left but what `maxBytes` cut off. */
  get ended(): boolean {
    return this.at + RECORDS_AT > this.bytes.length || this.batchEnd > this.bytes.length;
  }

  /** Lets go of the whole answer, for which more than this partition may have been fetched. */
  detach(): void {
    this.bytes = Buffer.from(this.bytes.subarray(this.at));
    this.at = 0;
  }

  /**
   * The next whole batches, until they have at least so many records.
   * @throws CodecMissingError, InvalidRecordError; it cannot be used any more then, and `nextOffset` is where to go on
   */
  async next(least: number): Promise<KafkaRecord[]> {
    const records: KafkaRecord[] = [];
    let { nextOffset } = this;
    while (!this.ended && records.length < least) nextOffset = await this.decodeOne(records, nextOffset);
    this.nextOffset = nextOffset;
    return records;
  }

  private get batchEnd(): number {
    return this.at + HEADER_BYTES + this.bytes.readInt32BE(this.at + 8);
  }

  /** Resolves with the offset behind the batch. */
  private async decodeOne(into: KafkaRecord[], from: bigint): Promise<bigint> {
    const { bytes, of, at, aborted, aborting } = this;
    const end = this.batchEnd;
    const magic = bytes.readInt8(at + MAGIC_AT);
    if (magic !== 2) throw new InvalidRecordError(oldFormat(of, magic));

    const baseOffset = bytes.readBigInt64BE(at);
    const attributes = bytes.readInt16BE(at + 21);
    const lastOffset = baseOffset + BigInt(bytes.readInt32BE(at + 23));
    const producerId = bytes.readBigInt64BE(at + 43);

    for (; aborted && this.nextAborted < aborted.length; this.nextAborted++) {
      if (aborted[this.nextAborted]!.firstOffset > lastOffset) break;
      aborting.add(aborted[this.nextAborted]!.producerId);
    }
    const transactional = (attributes & TRANSACTIONAL) !== 0;
    if ((attributes & CONTROL) !== 0) {
      if (controlType(bytes.subarray(at + RECORDS_AT, end)) === ABORT_MARKER) aborting.delete(producerId);
    } else if (lastOffset >= from && !(transactional && aborting.has(producerId))) {
      const type = attributes & COMPRESSION_MASK;
      const packed = bytes.subarray(at + RECORDS_AT, end);
      const plain = type === 0 ? packed : await decompress(type, packed, partitionName(of));
      try {
        decodeBatch(plain, of, from, into, {
          count: bytes.readInt32BE(at + 57),
          baseOffset,
          firstTimestamp: Number(bytes.readBigInt64BE(at + 27)),
          appendTime:
            (attributes & LOG_APPEND_TIME) !== 0 ? Number(bytes.readBigInt64BE(at + 35)) : undefined,
        });
      } catch (error) {
        throw new InvalidRecordError(`The batch at ${partitionName(of)}@${baseOffset} is damaged`, {
          cause: error,
        });
      }
    }
    this.at = end;
    return lastOffset >= from ? lastOffset + 1n : from;
  }
}

interface BatchFacts {
  readonly count: number;
  readonly baseOffset: bigint;
  readonly firstTimestamp: number;
  readonly appendTime: number | undefined;
}

function decodeBatch(
  bytes: Buffer,
  of: TopicPartition,
  from: bigint,
  into: KafkaRecord[],
  batch: BatchFacts,
): void {
  const cursor = new RecordCursor(bytes);
  const { topic, partition } = of;
  // Adding small numbers and converting once is half the price of adding bigints.
  const base = Number(batch.baseOffset);
  const first = Number(from);
  for (let index = 0; index < batch.count; index++) {
    const length = cursor.varint();
    const end = cursor.at + length;
    if (length < 0 || end > bytes.length) throw new RangeError('a record ends outside its batch');
    cursor.at++; // attributes: none are defined
    const timestamp = batch.firstTimestamp + cursor.varlong();
    const offset = base + cursor.varint();
    if (offset < first) {
      cursor.at = end;
      continue;
    }
    const key = cursor.copy();
    const value = cursor.copy();
    const headers = cursor.headers();
    if (cursor.at !== end) throw new RangeError('a record is longer or shorter than it says');
    into.push({
      topic,
      partition,
      offset: BigInt(offset),
      timestamp: batch.appendTime ?? timestamp,
      key,
      value,
      headers,
    });
  }
}

class RecordCursor {
  at = 0;

  constructor(private readonly bytes: Buffer) {}

  varint(): number {
    const { bytes } = this;
    let byte = bytes[this.at++]!;
    if (byte < 0x80) return (byte >>> 1) ^ -(byte & 1);
    let value = byte & 0x7f;
    for (let shift = 7; shift < 35; shift += 7) {
      byte = bytes[this.at++]!;
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return (value >>> 1) ^ -(value & 1);
    }
    throw new RangeError('a number has more than five bytes');
  }

  /** Exact up to 2^53; timestamps stay far below. */
  varlong(): number {
    let value = 0;
    let scale = 1;
    for (let index = 0; index < 10; index++) {
      const byte = this.bytes[this.at++]!;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
      scale *= 128;
    }
    throw new RangeError('a number has more than ten bytes');
  }

  copy(): Buffer | null {
    const length = this.varint();
    if (length < 0) return null;
    const end = this.at + length;
    if (end > this.bytes.length) throw new RangeError('bytes end outside their batch');
    const copied = Buffer.allocUnsafe(length);
    this.bytes.copy(copied, 0, this.at, end);
    this.at = end;
    return copied;
  }

  headers(): readonly RecordHeader[] {
    const count = this.varint();
    if (count === 0) return NO_HEADERS;
    // A header has at least two bytes: a forged count must not reserve memory.
    if (count < 0 || count * 2 > this.bytes.length - this.at)
      throw new RangeError('a record has too many headers');
    const headers: RecordHeader[] = [];
    for (let index = 0; index < count; index++) {
      const length = this.varint();
      const end = this.at + length;
      if (length < 0 || end > this.bytes.length) throw new RangeError('a header ends outside its batch');
      const name = this.bytes.toString('utf8', this.at, end);
      this.at = end;
      headers.push([name, this.copy()]);
    }
    return headers;
  }
}

/** 0 abort, 1 commit: the second half of a control record's key. */
function controlType(bytes: Buffer): number | undefined {
  const cursor = new RecordCursor(bytes);
  cursor.varint();
  cursor.at++;
  cursor.varlong();
  cursor.varint();
  const key = cursor.copy();
  return key && key.length >= 4 ? key.readInt16BE(2) : undefined;
}

function oldFormat(of: TopicPartition, magic: number): string {
  return (
    `${partitionName(of)} holds records in message format ${magic}, from before Kafka 0.11, which this driver does not ` +
    'read. Let them expire, or copy them to a new topic with the tools of Kafka.'
  );
}
