import { hash } from 'node:crypto';
import type { KafkaRecord } from './record.js';

const TAGS = { key: 0x6b, digest: 0x68, offset: 0x6f } as const;
/** Longer keys go by a digest: the name of a sequence has to fit an index. */
const MAX_KEY_BYTES = 256;

/**
 * Names the line that a record queues in when it, or an earlier one of its partition, is parked: its key. A record
 * without a key has no order with any other, and a line of its own.
 */
export function parkedSequence({ key, offset }: KafkaRecord): Buffer {
  if (key === null) {
    const name = Buffer.allocUnsafe(9);
    name[0] = TAGS.offset;
    name.writeBigUInt64BE(offset, 1);
    return name;
  }
  if (key.length <= MAX_KEY_BYTES) return Buffer.concat([Buffer.of(TAGS.key), key]);
  return Buffer.concat([Buffer.of(TAGS.digest), hash('sha256', key, 'buffer')]);
}
