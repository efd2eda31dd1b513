import { InvalidRecordError } from '../errors/errors.js';
import type { PartitionOffset } from './record.js';

/** kafkajs' names for the end and the beginning of a partition. */
const EDGES: ReadonlySet<bigint> = new Set([-1n, -2n]);
const LARGEST = 2n ** 63n - 1n;

/**
 * What users write as `{ topic, partition, offset: '17' }`, kafkajs' way.
 * @param call the method it was given to, for the error.
 * @throws InvalidRecordError if no record can be there.
 */
export function readPosition(given: unknown, call: string, allowsEdges = false): PartitionOffset {
  const { topic, partition, offset } = (given ?? {}) as Record<string, unknown>;
  if (typeof topic !== 'string' || !Number.isInteger(partition) || (partition as number) < 0) {
    throw new InvalidRecordError(
      `${call} takes { topic, partition, offset }: a name, a number from 0 and an offset`,
    );
  }
  const parsed = toBigInt(offset);
  if (parsed === undefined || !((parsed >= 0n && parsed <= LARGEST) || (allowsEdges && EDGES.has(parsed)))) {
    const allowed = allowsEdges ? "from 0, or '-1' (the end) or '-2' (the beginning)" : 'from 0';
    throw new InvalidRecordError(
      `${call} was given an offset of ${topic}[${String(partition)}] that none can be. It must be a whole number ${allowed}, ` +
        "as a text: '17'",
    );
  }
  return { topic, partition: partition as number, offset: parsed };
}

/** Several of them. @throws InvalidRecordError */
export function readPositions(given: unknown, call: string): PartitionOffset[] {
  if (!Array.isArray(given)) {
    throw new InvalidRecordError(`${call} takes a list of { topic, partition, offset }`);
  }
  return given.map((position) => readPosition(position, call));
}

function toBigInt(offset: unknown): bigint | undefined {
  if (typeof offset === 'bigint') return offset;
  if (typeof offset === 'number') return Number.isSafeInteger(offset) ? BigInt(offset) : undefined;
  return typeof offset === 'string' && /^-?\d+$/.test(offset) ? BigInt(offset) : undefined;
}
