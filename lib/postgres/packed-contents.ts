import { packHeaders } from '../messages/header-packing.js';
import type { RecordHeader } from '../messages/record.js';
import { PackedBytes, type Parameter, plainArray } from './parameters.js';

interface Contents {
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: readonly RecordHeader[];
}

/**
 * What records hold, as the last parameters of a statement: where each key, value and packed headers start and how long they
 * are, a column each, and all their bytes as one.
 */
export function packedContents(records: readonly Contents[]): Parameter[] {
  const packed = new PackedBytes();
  const bounds = records.map(({ key, value, headers }) => ({
    key: packed.add(key),
    value: packed.add(value),
    headers: packed.add(packHeaders(headers)),
  }));
  return [
    plainArray(bounds.map(({ key }) => key.start)),
    plainArray(bounds.map(({ key }) => key.length)),
    plainArray(bounds.map(({ value }) => value.start)),
    plainArray(bounds.map(({ value }) => value.length)),
    plainArray(bounds.map(({ headers }) => headers.start)),
    plainArray(bounds.map(({ headers }) => headers.length)),
    packed.bytes(),
  ];
}
