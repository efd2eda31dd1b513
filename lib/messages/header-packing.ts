import type { RecordHeader } from './record.js';

/**
 * Headers as one run of bytes, for storing them: a count, then per header the length of its name, the name as UTF-8,
 * the length of its value plus one (zero is `null`), the value. Numbers are LEB128. Keeps order, repeated names, empty
 * and missing values.
 */
export function packHeaders(headers: readonly RecordHeader[]): Buffer {
  let size = varintSize(headers.length);
  for (const [name, value] of headers) {
    const nameBytes = Buffer.byteLength(name, 'utf8');
    const valueBytes = value === null ? 0 : value.length + 1;
    size += varintSize(nameBytes) + nameBytes + varintSize(valueBytes) + (value?.length ?? 0);
  }
  const packed = Buffer.allocUnsafe(size);
  let at = writeVarint(packed, 0, headers.length);
  for (const [name, value] of headers) {
    at = writeVarint(packed, at, Buffer.byteLength(name, 'utf8'));
    at += packed.write(name, at, 'utf8');
    at = writeVarint(packed, at, value === null ? 0 : value.length + 1);
    if (value !== null) at += value.copy(packed, at);
  }
  return packed;
}

/**
 * The reverse of `packHeaders`; values are views on `packed`.
 * @throws RangeError for bytes that `packHeaders` did not write.
 */
export function unpackHeaders(packed: Buffer): RecordHeader[] {
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = packed[at++];
      if (byte === undefined || factor > 2 ** 42)
        throw new RangeError('Packed headers are cut off or damaged');
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return value;
    }
  };
  const take = (length: number): Buffer => {
    if (at + length > packed.length) throw new RangeError('Packed headers are cut off or damaged');
    return packed.subarray(at, (at += length));
  };
  const headers: RecordHeader[] = [];
  for (let left = varint(); left > 0; left--) {
    const name = take(varint()).toString('utf8');
    const length = varint();
    headers.push([name, length === 0 ? null : take(length - 1)]);
  }
  if (at !== packed.length) throw new RangeError('Packed headers are followed by other bytes');
  return headers;
}

function varintSize(value: number): number {
  let size = 1;
  for (let rest = value; rest >= 0x80; rest = Math.floor(rest / 128)) size++;
  return size;
}

function writeVarint(target: Buffer, offset: number, value: number): number {
  let at = offset;
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 128)) target[at++] = (rest % 128) | 0x80;
  target[at++] = rest;
  return at;
}
