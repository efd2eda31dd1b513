import { headerName } from '../../messages/header-names.js';
import type { RecordHeader } from '../../messages/record.js';

const NO_HEADERS: readonly RecordHeader[] = Object.freeze([]);

/**
 * Bytes of records lie together, since they live about as long as each other: in the pool that all of Node shares, each
 * would keep the short-lived bytes around it.
 */
const SLAB = 16 * 1024;
let slab = Buffer.alloc(0);
let slabAt = 0;

/**
 * Reads the fields of records, one after the other. Keys and values are of a copy of their record, since a view would keep
 * the whole answer (megabytes) for as long as one record of it is held. What is not as it says throws a `RangeError`.
 */
export class RecordCursor {
  private copied = slab;
  /** From a place in `bytes` to the same one in `copied`. */
  private shift = 0;
  private recordEnd = 0;

  /** @param end behind the last byte that belongs to the records */
  constructor(
    private bytes: Buffer,
    public at: number,
    private end: number,
  ) {}

  /** What was at `start` is now at the beginning of these bytes. */
  move(bytes: Buffer, start: number): void {
    this.bytes = bytes;
    this.at -= start;
    this.end -= start;
  }

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

  /** Begins a record; returns where it ends. */
  record(): number {
    const length = this.varint();
    const end = this.at + length;
    if (length < 0 || end > this.end) throw new RangeError('a record ends outside its batch');
    this.recordEnd = end;
    return end;
  }

  /** What is taken of the record from here on is taken of a copy. */
  copy(): void {
    const { at, recordEnd } = this;
    const length = recordEnd - at;
    if (length < 0) throw new RangeError('a record ends before its key');
    if (length > SLAB / 2) {
      this.copied = Buffer.allocUnsafeSlow(length);
      this.shift = -at;
    } else {
      if (slabAt + length > slab.length) {
        slab = Buffer.allocUnsafeSlow(SLAB);
        slabAt = 0;
      }
      this.copied = slab;
      this.shift = slabAt - at;
      slabAt += length;
    }
    this.bytes.copy(this.copied, at + this.shift, at, recordEnd);
  }

  /** Bytes behind their length; `null` where that is negative. */
  take(): Buffer | null {
    const length = this.varint();
    if (length < 0) return null;
    const end = this.at + length;
    if (end > this.recordEnd) throw new RangeError('bytes end outside their record');
    const taken = this.copied.subarray(this.at + this.shift, end + this.shift);
    this.at = end;
    return taken;
  }

  headers(): readonly RecordHeader[] {
    const count = this.varint();
    if (count === 0) return NO_HEADERS;
    // A header has at least two bytes: a forged count must not reserve memory.
    if (count < 0 || count * 2 > this.recordEnd - this.at)
      throw new RangeError('a record has too many headers');
    const headers: RecordHeader[] = [];
    for (let index = 0; index < count; index++) {
      const length = this.varint();
      const end = this.at + length;
      if (length < 0 || end > this.recordEnd) throw new RangeError('a header ends outside its record');
      const name = headerName(this.bytes.toString('utf8', this.at, end));
      this.at = end;
      headers.push([name, this.take()]);
    }
    return headers;
  }
}
