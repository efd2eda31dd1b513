import { headerValue, type RecordHeader } from './record.js';

const COUNT = 'redrive-count';
const GROUP = 'redrive-group';
const HANDLER = 'redrive-handler';
const OFFSET = 'redrive-offset';
const NAMES: ReadonlySet<string> = new Set([COUNT, GROUP, HANDLER, OFFSET]);

/** What a redriven record says about its way back. */
export interface Redrive {
  /** How often it was put back, with this time. */
  readonly count: number;
  /** Whom it is for: other durable handlers of its topic have dealt with it. */
  readonly group: string;
  readonly handler: string;
  /** Its offset before, in the same partition, if that is all that identifies it. */
  readonly offset: bigint | undefined;
}

/** The headers of a record that is put back: its own, and what its handler has to know. */
export function redriveHeaders(
  headers: readonly RecordHeader[],
  { count, group, handler, offset }: Redrive,
): RecordHeader[] {
  const own = headers.filter(([name]) => !NAMES.has(name));
  const facts: [string, string][] = [
    [COUNT, String(count)],
    [GROUP, group],
    [HANDLER, handler],
  ];
  if (offset !== undefined) facts.push([OFFSET, String(offset)]);
  return [...own, ...facts.map(([name, value]): RecordHeader => [name, Buffer.from(value)])];
}

/** `undefined` for a record that was not redriven, or says so in a way that nobody of us does. */
export function redriveOf(headers: readonly RecordHeader[]): Redrive | undefined {
  const text = (name: string) => headerValue(headers, name)?.toString('utf8');
  const count = text(COUNT);
  const group = text(GROUP);
  const handler = text(HANDLER);
  if (count === undefined || !/^\d{1,9}$/.test(count) || group === undefined || handler === undefined) {
    return undefined;
  }
  const offset = text(OFFSET);
  const known = offset !== undefined && /^\d{1,18}$/.test(offset);
  return { count: Number(count), group, handler, offset: known ? BigInt(offset) : undefined };
}
