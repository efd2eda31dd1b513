const SEED = 0x9747b28c | 0;
const MULTIPLIER = 0x5bd1e995;

/** The 32-bit murmur2 hash that Kafka's Java client and kafkajs hash keys with, as a signed integer. */
export function murmur2(key: Buffer): number {
  const { length } = key;
  let hash = SEED ^ length;
  const tail = length & ~3;
  for (let index = 0; index < tail; index += 4) {
    let word = Math.imul(key.readInt32LE(index), MULTIPLIER);
    word = Math.imul(word ^ (word >>> 24), MULTIPLIER);
    hash = Math.imul(hash, MULTIPLIER) ^ word;
  }
  if (length > tail) {
    hash ^= key.readUIntLE(tail, length - tail);
    hash = Math.imul(hash, MULTIPLIER);
  }
  hash = Math.imul(hash ^ (hash >>> 13), MULTIPLIER);
  return hash ^ (hash >>> 15);
}

/** Chooses partitions as kafkajs' `DefaultPartitioner` does: by the key's hash, or in turn without a key. */
export class Partitioner {
  readonly #turns = new Map<string, number>();

  choose(topic: string, key: Buffer | null, partitions: number): number {
    if (key !== null) return (murmur2(key) & 0x7fffffff) % partitions;
    const turn = this.#turns.get(topic) ?? 0;
    this.#turns.set(topic, turn + 1);
    return turn % partitions;
  }
}
