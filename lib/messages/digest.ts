import { hash } from 'node:crypto';

/** The first 64 bits of a SHA-1, with a sign, as Postgres's `bigint` has it. */
export function digest64(data: string | Buffer): bigint {
  return BigInt.asIntN(64, BigInt(`0x${hash('sha1', data, 'hex').slice(0, 16)}`));
}
