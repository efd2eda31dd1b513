/** Kafka's primitive types. "Compact" ones belong to the flexible versions of a request (KIP-482). */

const ZERO_UUID = '00000000-0000-0000-0000-000000000000';

/** The id of a topic whose broker is too old to tell (before Kafka 2.8). */
export const NO_TOPIC_ID = ZERO_UUID;

/** Writes a request body into one growing buffer. */
export class WireWriter {
  private bytes: Buffer;
  private end = 0;

  constructor(initialSize = 256) {
    this.bytes = Buffer.allocUnsafe(initialSize);
  }

  /** What was written so far; a view, not a copy. */
  get buffer(): Buffer {
    return this.bytes.subarray(0, this.end);
  }

  get length(): number {
    return this.end;
  }

  /** Starts again in the same buffer; what `buffer` returned before is overwritten. */
  reset(): void {
    this.end = 0;
  }

  int8(value: number): this {
    const at = this.room(1); // may replace the buffer
    this.end = this.bytes.writeInt8(value, at);
    return this;
  }

  int16(value: number): this {
    const at = this.room(2); // may replace the buffer
    this.end = this.bytes.writeInt16BE(value, at);
    return this;
  }

  int32(value: number): this {
    const at = this.room(4); // may replace the buffer
    this.end = this.bytes.writeInt32BE(value, at);
    return this;
  }

  int64(value: bigint): this {
    const at = this.room(8); // may replace the buffer
    this.end = this.bytes.writeBigInt64BE(value, at);
    return this;
  }

  /** Overwrites four bytes written before, for lengths and checksums known only afterwards. */
  patchInt32(at: number, value: number): this {
    this.bytes.writeInt32BE(value | 0, at);
    return this;
  }

  unsignedVarint(value: number): this {
    let at = this.room(5);
    let rest = value >>> 0;
    while (rest > 0x7f) {
      this.bytes[at++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    this.bytes[at++] = rest;
    this.end = at;
    return this;
  }

  varint(value: number): this {
    return this.unsignedVarint((value << 1) ^ (value >> 31));
  }

  /** Zig-zag, like `varint`, for any safe integer. */
  varlong(value: number): this {
    if (value >= -0x40000000 && value < 0x40000000) return this.varint(value);
    let rest = value >= 0 ? BigInt(value) * 2n : BigInt(value) * -2n - 1n;
    let at = this.room(10);
    while (rest > 0x7fn) {
      this.bytes[at++] = Number(rest & 0x7fn) | 0x80;
      rest >>= 7n;
    }
    this.bytes[at++] = Number(rest);
    this.end = at;
    return this;
  }

  raw(value: Buffer): this {
    const at = this.room(value.length);
    value.copy(this.bytes, at);
    this.end = at + value.length;
    return this;
  }

  string(value: string | null): this {
    if (value === null) return this.int16(-1);
    const length = Buffer.byteLength(value);
    this.int16(length);
    return this.utf8(value, length);
  }

  compactString(value: string): this {
    const length = Buffer.byteLength(value);
    this.unsignedVarint(length + 1);
    return this.utf8(value, length);
  }

  /** A string behind a zig-zag length, as in records. */
  varintString(value: string): this {
    const length = Buffer.byteLength(value);
    this.varint(length);
    return this.utf8(value, length);
  }

  bytes32(value: Buffer): this {
    return this.int32(value.length).raw(value);
  }

  /** Nullable bytes behind a zig-zag length, as in records. */
  varintBytes(value: Buffer | null): this {
    return value === null ? this.varint(-1) : this.varint(value.length).raw(value);
  }

  uuid(value: string): this {
    return this.raw(Buffer.from(value.replaceAll('-', ''), 'hex'));
  }

  array<T>(items: readonly T[], write: (item: T) => void): this {
    this.int32(items.length);
    for (const item of items) write(item);
    return this;
  }

  compactArray<T>(items: readonly T[], write: (item: T) => void): this {
    this.unsignedVarint(items.length + 1);
    for (const item of items) write(item);
    return this;
  }

  /** An empty set of tagged fields. */
  noTags(): this {
    return this.int8(0);
  }

  private utf8(value: string, length: number): this {
    const at = this.room(length);
    this.bytes.write(value, at, length, 'utf8');
    this.end = at + length;
    return this;
  }

  private room(size: number): number {
    const needed = this.end + size;
    if (needed > this.bytes.length) {
      const grown = Buffer.allocUnsafe(Math.max(needed, this.bytes.length * 2));
      this.bytes.copy(grown, 0, 0, this.end);
      this.bytes = grown;
    }
    return this.end;
  }
}

/** Reads a response body. Reading past the end throws a `RangeError`. */
export class WireReader {
  private at = 0;

  constructor(private readonly bytes: Buffer) {}

  get remaining(): number {
    return this.bytes.length - this.at;
  }

  int8(): number {
    const value = this.bytes.readInt8(this.at);
    this.at += 1;
    return value;
  }

  int16(): number {
    const value = this.bytes.readInt16BE(this.at);
    this.at += 2;
    return value;
  }

  int32(): number {
    const value = this.bytes.readInt32BE(this.at);
    this.at += 4;
    return value;
  }

  int64(): bigint {
    const value = this.bytes.readBigInt64BE(this.at);
    this.at += 8;
    return value;
  }

  unsignedVarint(): number {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.bytes.readUInt8(this.at++);
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value >>> 0;
    }
    throw new RangeError('A variable-length integer has more than five bytes');
  }

  string(): string | null {
    const length = this.int16();
    return length < 0 ? null : this.take(length).toString('utf8');
  }

  compactString(): string | null {
    const length = this.unsignedVarint();
    return length === 0 ? null : this.take(length - 1).toString('utf8');
  }

  bytes32(): Buffer | null {
    const length = this.int32();
    return length < 0 ? null : this.take(length);
  }

  compactBytes(): Buffer | null {
    const length = this.unsignedVarint();
    return length === 0 ? null : this.take(length - 1);
  }

  uuid(): string {
    const hex = this.take(16).toString('hex');
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
  }

  array<T>(read: () => T): T[] {
    return this.times(this.int32(), read);
  }

  compactArray<T>(read: () => T): T[] {
    return this.times(this.unsignedVarint() - 1, read);
  }

  tags(): void {
    for (let count = this.unsignedVarint(); count > 0; count--) {
      this.unsignedVarint();
      this.take(this.unsignedVarint());
    }
  }

  private times<T>(count: number, read: () => T): T[] {
    const items: T[] = [];
    for (let index = 0; index < count; index++) items.push(read());
    return items;
  }

  private take(length: number): Buffer {
    const end = this.at + length;
    if (end > this.bytes.length)
      throw new RangeError('A response of the broker ends in the middle of a field');
    const value = this.bytes.subarray(this.at, end);
    this.at = end;
    return value;
  }
}
