import type { Generation, OffsetCommit } from './facts.js';
import type { RawRecord } from './record-reader.js';

/** Where the broker keeps offsets and memberships of groups. */
export const OFFSETS_TOPIC = '__consumer_offsets';

/** Versions of the values, as Kafka 4 writes them. */
const OFFSET_VALUE_VERSIONS = [1, 2, 3, 4];
const GROUP_VALUE_VERSIONS = [2, 3];
const CONSUMER_PROTOCOL_VERSIONS = [0, 1, 2, 3];

export interface CoordinatorLog {
  readonly commits: OffsetCommit[];
  readonly generations: Generation[];
}

/**
 * What the coordinator stored of a group, in its order: every offset ever committed, and who was given which partitions.
 * @throws if a record has a version that is not known here
 */
export function readCoordinatorLog(records: readonly RawRecord[], groupId: string): CoordinatorLog {
  const log: CoordinatorLog = { commits: [], generations: [] };
  let generation = -1;
  for (const { message } of records) {
    if (!message.key) continue;
    const key = new Reader(message.key);
    const keyVersion = key.int16();
    if (keyVersion > 2 || key.string() !== groupId) continue;
    const at = Number(message.timestamp);
    if (keyVersion === 2) {
      const group = message.value && readGroup(new Reader(message.value), at);
      if (!group) continue;
      generation = group.generation;
      log.generations.push(group);
    } else if (message.value) {
      const [topic, partition] = [key.string(), key.int32()];
      log.commits.push({ topic, partition, generation, at, offset: readOffset(new Reader(message.value)) });
    }
  }
  return log;
}

function readOffset(value: Reader): bigint {
  expectVersion('an offset', value.int16(), OFFSET_VALUE_VERSIONS);
  return value.int64();
}

function readGroup(value: Reader, at: number): Generation {
  const version = value.int16();
  expectVersion('a group', version, GROUP_VALUE_VERSIONS);
  value.string(); // protocol type
  const generation = value.int32();
  value.nullableString(); // protocol
  value.nullableString(); // leader
  value.int64(); // time of the state
  const owned = new Map<string, Set<string>>();
  for (let left = value.int32(); left > 0; left--) {
    value.string(); // member id
    if (version >= 3) value.nullableString(); // instance id
    const clientId = value.string();
    value.string(); // host
    value.int32(); // rebalance timeout
    value.int32(); // session timeout
    value.bytes(); // subscription
    const assignment = value.bytes();
    const partitions = assignment.length > 0 ? readAssignment(new Reader(assignment)) : [];
    owned.set(clientId, new Set([...(owned.get(clientId) ?? []), ...partitions]));
  }
  return { generation, at, owned };
}

function readAssignment(value: Reader): string[] {
  expectVersion('an assignment', value.int16(), CONSUMER_PROTOCOL_VERSIONS);
  const partitions: string[] = [];
  for (let topics = value.int32(); topics > 0; topics--) {
    const topic = value.string();
    for (let left = value.int32(); left > 0; left--) partitions.push(`${topic}/${value.int32()}`);
  }
  return partitions;
}

function expectVersion(what: string, version: number, known: readonly number[]): void {
  if (known.includes(version)) return;
  throw new Error(`${OFFSETS_TOPIC} holds ${what} of version ${version}; known are ${known.join(', ')}.`);
}

class Reader {
  private at = 0;

  constructor(private readonly buffer: Buffer) {}

  int16(): number {
    return this.buffer.readInt16BE((this.at += 2) - 2);
  }

  int32(): number {
    return this.buffer.readInt32BE((this.at += 4) - 4);
  }

  int64(): bigint {
    return this.buffer.readBigInt64BE((this.at += 8) - 8);
  }

  string(): string {
    return this.nullableString() ?? '';
  }

  nullableString(): string | undefined {
    const length = this.int16();
    return length < 0 ? undefined : this.buffer.toString('utf8', this.at, (this.at += length));
  }

  bytes(): Buffer {
    const length = this.int32();
    return this.buffer.subarray(this.at, (this.at += length));
  }
}
