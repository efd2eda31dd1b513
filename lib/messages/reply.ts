import type { RecordHeader } from './record.js';

/** A reply as it goes over the wire, but for where it goes to. */
export interface EncodedReply {
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: readonly RecordHeader[];
}
