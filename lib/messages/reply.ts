import { InvalidRecordError } from '../errors/errors.js';
import type { RecordHeader } from './record.js';

/**
 * One reply record but for where it goes: topic, partition and correlation id belong to the request that is being
 * answered, so that a stored reply answers a repeated request too. Whether it is an error or the last one is said by
 * its headers.
 */
export interface EncodedReply {
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: readonly RecordHeader[];
}

const VERSION = 1;

/**
 * All replies to one request as one value for storing; `unpackReplies` is its inverse. Layout: a version byte, the
 * count, then per reply key, value, count of headers, and name and value of each. Numbers are LEB128; bytes come after
 * their length plus one, and 0 stands for `null`.
 */
export function packReplies(replies: readonly EncodedReply[]): Buffer {
  const writer = new Writer();
  writer.byte(VERSION);
  writer.number(replies.length);
  for (const { key, value, headers } of replies) {
    writer.bytes(key);
    writer.bytes(value);
    writer.number(headers.length);
    for (const [name, content] of headers) {
      writer.bytes(Buffer.from(name, 'utf8'));
      writer.bytes(content);
    }
  }
  return writer.finish();
}

/** @throws InvalidRecordError if the bytes are of a newer version of this library, or damaged. */
export function unpackReplies(packed: Buffer): EncodedReply[] {
  if (packed[0] !== VERSION) {
    throw new InvalidRecordError(
      `A stored reply has format ${packed[0] ?? 'none'}; this version reads ${VERSION}. Was it stored by a newer one?`,
    );
  }
  const reader = new Reader(packed, 1);
  const replies: EncodedReply[] = [];
  for (let left = reader.count(); left > 0; left--) {
    const key = reader.bytes();
    const value = reader.bytes();
    const headers: RecordHeader[] = [];
    for (let more = reader.count(); more > 0; more--) {
      headers.push([(reader.bytes() ?? Buffer.alloc(0)).toString('utf8'), reader.bytes()]);
    }
    replies.push({ key, value, headers });
  }
  reader.expectEnd();
  return replies;
}

class Writer {
  private readonly parts: Buffer[] = [];

  byte(value: number): void {
    this.parts.push(Buffer.from([value]));
  }

  number(value: number): void {
    const bytes: number[] = [];
    let rest = value;
    while (rest > 0x7f) {
      bytes.push((rest % 0x80) | 0x80);
      rest = Math.floor(rest / 0x80);
    }
    bytes.push(rest);
    this.parts.push(Buffer.from(bytes));
  }

  bytes(value: Buffer | null): void {
    this.number(value === null ? 0 : value.length + 1);
    if (value !== null) this.parts.push(value);
  }

  finish(): Buffer {
    return Buffer.concat(this.parts);
  }
}

class Reader {
  constructor(
    private readonly source: Buffer,
    private position: number,
  ) {}

  number(): number {
    let value = 0;
    let scale = 1;
    for (;;) {
      const byte = this.source[this.position++];
      if (byte === undefined || scale > 2 ** 42) throw damaged();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
      scale *= 0x80;
    }
  }

  /** A count of things of at least one byte each: damaged bytes must not ask for gigabytes. */
  count(): number {
    const value = this.number();
    if (value > this.source.length - this.position) throw damaged();
    return value;
  }

  bytes(): Buffer | null {
    const length = this.number() - 1;
    if (length < 0) return null;
    const end = this.position + length;
    if (end > this.source.length) throw damaged();
    const value = this.source.subarray(this.position, end);
    this.position = end;
    return value;
  }

  expectEnd(): void {
    if (this.position !== this.source.length) throw damaged();
  }
}

function damaged(): InvalidRecordError {
  return new InvalidRecordError('A stored reply is damaged');
}
