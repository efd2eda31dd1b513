import type { RecordHeader } from '../../messages/record.js';

const NO_HEADERS: readonly RecordHeader[] = Object.freeze([]);

/** Reads the fields of records, one after the other. What is not as it says throws a `RangeError`. */
export class RecordCursor {
  /** @param end behind the last byte that belongs to the records */
  constructor(
    private bytes: Buffer,
    public at: number,
    public end: number,
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

  /** Bytes behind their length; `null` where that is negative. */
  copy(): Buffer | null {
    const length = this.varint();
    if (length < 0) return null;
    const end = this.at + length;
    if (end > this.end) throw new RangeError('bytes end outside their batch');
    const copied = Buffer.allocUnsafe(length);
    this.bytes.copy(copied, 0, this.at, end);
    this.at = end;
    return copied;
  }

  headers(): readonly RecordHeader[] {
    const count = this.varint();
    if (count === 0) return NO_HEADERS;
    // A header has at least two bytes: a forged count must not reserve memory.
    if (count < 0 || count * 2 > this.end - this.at) throw new RangeError('a record has too many headers');
    const headers: RecordHeader[] = [];
    for (let index = 0; index < count; index++) {
      const length = this.varint();
      const end = this.at + length;
      if (length < 0 || end > this.end) throw new RangeError('a header ends outside its batch');
      const name = this.bytes.toString('utf8', this.at, end);
      this.at = end;
      headers.push([name, this.copy()]);
    }
    return headers;
  }
}
