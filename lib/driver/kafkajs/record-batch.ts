/**
 * Decodes what a fetch brings: record batches of format 2, linear in their size. Checksums are not verified: TCP and the
 * broker do.
 */
import { InvalidRecordError } from '../../errors/errors.js';
import type { KafkaRecord, TopicPartition } from '../../messages/record.js';
import { partitionName } from '../../messages/record.js';
import { decompress } from './compression.js';
import { RecordCursor } from './record-cursor.js';

export interface AbortedTransaction {
  readonly producerId: bigint;
  readonly firstOffset: bigint;
}

const HEADER_BYTES = 12; // base offset and length
const LEADER_EPOCH_AT = 12;
const NO_EPOCH = -1;
const MAGIC_AT = 16;
const RECORDS_AT = 61;
const COMPRESSION_MASK = 0x07;
const LOG_APPEND_TIME = 0x08;
const TRANSACTIONAL = 0x10;
const CONTROL = 0x20;
const ABORT_MARKER = 0;
export const NO_ROOM = Buffer.alloc(0);
/** More often the size of what is left, a room is a waste. */
const LARGEST_ROOM = 4;
const NOTHING = new RecordCursor(NO_ROOM, 0, 0);

/**
 * What a fetch brought for one partition, decoded a part at a time: as objects, thousands of records that wait cost much
 * more memory than as bytes, and the garbage collector more time.
 */
export class FetchedBatches {
  /** Behind all that was decoded. May move without a record: batches may be compacted, aborted or control. */
  nextOffset: bigint;
  private at = 0;
  /** Where what is left lies since `detach`, empty before: may be given to the next answer when this one has ended. */
  room: Buffer = NO_ROOM;
  /** Decoded in part; `at` is behind it. */
  private open: OpenBatch | undefined;
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
    return !this.open && (this.at + RECORDS_AT > this.bytes.length || this.batchEnd > this.bytes.length);
  }

  /**
   * Lets go of the whole answer, for which more than this partition may have been fetched: copies what is left of it, into
   * `room` if that fits.
   */
  detach(room: Buffer): void {
    if (this.room.length > 0) return;
    const start = this.open?.uncompressedAt ?? this.at;
    const left = this.bytes.length - start;
    const fits = left <= room.length && room.length <= left * LARGEST_ROOM;
    this.room = fits ? room : Buffer.allocUnsafeSlow(left);
    this.bytes.copy(this.room, 0, start);
    this.bytes = this.room.subarray(0, left);
    this.open?.move(this.bytes, start);
    this.at -= start;
  }

  /**
   * The next records, at most so many.
   * @throws CodecMissingError, InvalidRecordError; it cannot be used any more then, and `nextOffset` is where to go on
   */
  async next(most: number): Promise<KafkaRecord[]> {
    const records: KafkaRecord[] = [];
    let { nextOffset } = this;
    while (records.length < most && !this.ended) {
      const batch = (this.open ??= await this.openNext(nextOffset));
      if (batch.decode(records, most)) {
        if (batch.end > nextOffset) nextOffset = batch.end;
        this.open = undefined;
      } else nextOffset = records[records.length - 1]!.offset + 1n;
    }
    this.nextOffset = nextOffset;
    return records;
  }

  private get batchEnd(): number {
    return this.at + HEADER_BYTES + this.bytes.readInt32BE(this.at + 8);
  }

  /** Goes past the header of the next batch. */
  private async openNext(from: bigint): Promise<OpenBatch> {
    const { bytes, of, at, aborted, aborting, batchEnd } = this;
    const magic = bytes.readInt8(at + MAGIC_AT);
    if (magic !== 2) throw new InvalidRecordError(oldFormat(of, magic));

    const baseOffset = bytes.readBigInt64BE(at);
    const leaderEpoch = bytes.readInt32BE(at + LEADER_EPOCH_AT);
    const attributes = bytes.readInt16BE(at + 21);
    const lastOffset = baseOffset + BigInt(bytes.readInt32BE(at + 23));
    const producerId = bytes.readBigInt64BE(at + 43);
    const facts: BatchFacts = {
      of,
      from,
      baseOffset,
      end: lastOffset + 1n,
      count: bytes.readInt32BE(at + 57),
      leaderEpoch: leaderEpoch === NO_EPOCH ? undefined : leaderEpoch,
      firstTimestamp: Number(bytes.readBigInt64BE(at + 27)),
      appendTime: (attributes & LOG_APPEND_TIME) !== 0 ? Number(bytes.readBigInt64BE(at + 35)) : undefined,
    };

    for (; aborted && this.nextAborted < aborted.length; this.nextAborted++) {
      if (aborted[this.nextAborted]!.firstOffset > lastOffset) break;
      aborting.add(aborted[this.nextAborted]!.producerId);
    }
    const isAborted = (attributes & TRANSACTIONAL) !== 0 && aborting.has(producerId);
    const isControl = (attributes & CONTROL) !== 0;
    if (isControl && controlType(new RecordCursor(bytes, at + RECORDS_AT, batchEnd)) === ABORT_MARKER)
      aborting.delete(producerId);
    this.at = batchEnd;
    if (isControl || isAborted || lastOffset < from) return new OpenBatch(NOTHING, { ...facts, count: 0 });

    const type = attributes & COMPRESSION_MASK;
    if (type === 0) return new OpenBatch(new RecordCursor(bytes, at + RECORDS_AT, batchEnd), facts, true);
    const plain = await decompress(type, bytes.subarray(at + RECORDS_AT, batchEnd), partitionName(of));
    return new OpenBatch(new RecordCursor(plain, 0, plain.length), facts);
  }
}

interface BatchFacts {
  readonly of: TopicPartition;
  /** Records below are left out. */
  readonly from: bigint;
  readonly baseOffset: bigint;
  /** Behind its last record, also where compaction has removed that. */
  readonly end: bigint;
  readonly count: number;
  readonly leaderEpoch: number | undefined;
  readonly firstTimestamp: number;
  readonly appendTime: number | undefined;
}

/** A batch whose records are decoded as they are asked for. */
class OpenBatch {
  private left: number;

  /** @param isUncompressed the cursor goes over the bytes of the answer */
  constructor(
    private readonly cursor: RecordCursor,
    private readonly facts: BatchFacts,
    private readonly isUncompressed = false,
  ) {
    this.left = facts.count;
  }

  get end(): bigint {
    return this.facts.end;
  }

  /** Where in the bytes of the answer the next record is, if its bytes are there. */
  get uncompressedAt(): number | undefined {
    return this.isUncompressed ? this.cursor.at : undefined;
  }

  /** The answer's bytes from `start` on are now these. */
  move(bytes: Buffer, start: number): void {
    if (this.isUncompressed) this.cursor.move(bytes, start);
  }

  /** Adds records until there are `most`; `true` if none is left. */
  decode(into: KafkaRecord[], most: number): boolean {
    try {
      this.decodeRecords(into, most);
    } catch (error) {
      const { of, baseOffset } = this.facts;
      throw new InvalidRecordError(`The batch at ${partitionName(of)}@${baseOffset} is damaged`, {
        cause: error,
      });
    }
    return this.left <= 0;
  }

  private decodeRecords(into: KafkaRecord[], most: number): void {
    const { cursor } = this;
    const { of, from, baseOffset, firstTimestamp, appendTime, leaderEpoch } = this.facts;
    const { topic, partition } = of;
    // Adding small numbers and converting once is half the price of adding bigints.
    const base = Number(baseOffset);
    const first = Number(from);
    for (; this.left > 0 && into.length < most; this.left--) {
      const end = cursor.record();
      cursor.at++; // attributes: none are defined
      const timestamp = firstTimestamp + cursor.varlong();
      const offset = base + cursor.varint();
      if (offset < first) {
        cursor.at = end;
        continue;
      }
      cursor.copy();
      const key = cursor.take();
      const value = cursor.take();
      const headers = cursor.headers();
      if (cursor.at !== end) throw new RangeError('a record is longer or shorter than it says');
      into.push({
        topic,
        partition,
        offset: BigInt(offset),
        timestamp: appendTime ?? timestamp,
        key,
        value,
        headers,
        leaderEpoch,
      });
    }
  }
}

/** 0 abort, 1 commit: the second half of a control record's key. */
function controlType(cursor: RecordCursor): number | undefined {
  cursor.record();
  cursor.at++;
  cursor.varlong();
  cursor.varint();
  cursor.copy();
  const key = cursor.take();
  return key && key.length >= 4 ? key.readInt16BE(2) : undefined;
}

function oldFormat(of: TopicPartition, magic: number): string {
  return (
    `${partitionName(of)} holds records in message format ${magic}, from before Kafka 0.11, which this driver does not ` +
    'read. Let them expire, or copy them to a new topic with the tools of Kafka.'
  );
}
