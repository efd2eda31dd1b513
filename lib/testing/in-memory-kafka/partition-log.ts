import type { KafkaRecord, OutgoingRecord } from '../../messages/record.js';

// What a record costs in a batch beside its own bytes, roughly; real batches share and compress it.
const RECORD_OVERHEAD = 70;

/** Bytes of a record as limits count them. */
export function recordBytes(record: Pick<OutgoingRecord, 'key' | 'value' | 'headers'>): number {
  let bytes = RECORD_OVERHEAD + (record.key?.length ?? 0) + (record.value?.length ?? 0);
  for (const [name, value] of record.headers) bytes += Buffer.byteLength(name) + (value?.length ?? 0) + 2;
  return bytes;
}

/** The records of one partition, kept as copies: what callers do to their buffers afterwards changes nothing. */
export class PartitionLog {
  readonly #records: KafkaRecord[] = [];
  #low = 0n;
  /** Where each leader but the last one ended that lost records, lowered by what later ones lost. */
  readonly #ends: bigint[] = [];

  constructor(
    readonly topic: string,
    readonly partition: number,
  ) {}

  /** Offset of the first record. */
  get low(): bigint {
    return this.#low;
  }

  /** Offset that the next record will get. */
  get high(): bigint {
    return this.#low + BigInt(this.#records.length);
  }

  append(record: OutgoingRecord, now: number): bigint {
    const offset = this.high;
    this.#records.push(
      copy({
        topic: this.topic,
        partition: this.partition,
        offset,
        timestamp: record.timestamp ?? now,
        key: record.key,
        value: record.value,
        headers: record.headers,
        leaderEpoch: this.epoch,
      }),
    );
    return offset;
  }

  /** Removes everything below `offset`, as retention does. */
  truncate(offset: bigint): void {
    const end = offset < this.high ? offset : this.high;
    if (end <= this.#low) return;
    this.#records.splice(0, Number(end - this.#low));
    this.#low = end;
  }

  /** Removes everything from `offset` on, as a new leader does that never had it. */
  loseEnd(offset: bigint): void {
    const end = offset > this.#low ? offset : this.#low;
    if (end < this.high) this.#records.splice(Number(end - this.#low));
    this.#ends.push(this.high);
  }

  /** Grows with each leader that lost records. */
  get epoch(): number {
    return this.#ends.length;
  }

  /** Up to where the log is the one that was read under this epoch. */
  endOf(epoch: number): bigint {
    const later = this.#ends.slice(epoch);
    return later.reduce((end, each) => (each < end ? each : end), later[0] ?? this.high);
  }

  /** Records from `offset` on, at most `maxBytes` of them but at least one if there is one. */
  read(offset: bigint, maxBytes: number): { records: KafkaRecord[]; bytes: number } {
    const records: KafkaRecord[] = [];
    let bytes = 0;
    for (let index = Number(offset - this.#low); index < this.#records.length; index++) {
      const record = this.#records[index]!;
      const size = recordBytes(record);
      if (records.length > 0 && bytes + size > maxBytes) break;
      records.push(copy(record));
      bytes += size;
    }
    return { records, bytes };
  }

  all(): KafkaRecord[] {
    return this.#records.map(copy);
  }
}

function copy(record: KafkaRecord): KafkaRecord {
  return {
    ...record,
    key: copyBytes(record.key),
    value: copyBytes(record.value),
    headers: record.headers.map(([name, value]) => [name, copyBytes(value)] as const),
  };
}

function copyBytes(bytes: Buffer | null): Buffer | null {
  return bytes === null ? null : Buffer.from(bytes);
}
