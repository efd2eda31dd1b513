import { headerValue, type KafkaRecord, type RecordHeader } from './record.js';

const COUNT = 'redrive-count';
const GROUP = 'redrive-group';
const HANDLER = 'redrive-handler';
const OFFSET = 'redrive-offset';
const TOPIC = 'redrive-topic';

/** In place of a handler's name: the record died before anybody could tell whose it was. */
export const EVERY_HANDLER = '*';

const NAMES: ReadonlySet<string> = new Set([COUNT, GROUP, HANDLER, OFFSET, TOPIC]);

/** What a redriven record says about its way back. */
export interface Redrive {
  /** How often it was put back, with this time. */
  readonly count: number;
  /** Whom it is for: other durable handlers of its topic have dealt with it. */
  readonly group: string;
  /** Its name, or `EVERY_HANDLER` of the group. */
  readonly handler: string;
  /** Its offset before, in the same partition, if that is all that identifies it. */
  readonly offset: bigint | undefined;
}

export function isRedriveHeader([name]: RecordHeader): boolean {
  return NAMES.has(name);
}

/** Whether a redriven record is for a handler. */
export function isFor(redrive: Redrive, { group, handler }: Pick<Redrive, 'group' | 'handler'>): boolean {
  return redrive.group === group && (redrive.handler === handler || redrive.handler === EVERY_HANDLER);
}

/** The headers of a record that is put back: its own, and what its handler has to know. */
export function redriveHeaders(
  { topic, headers }: Pick<KafkaRecord, 'topic' | 'headers'>,
  { count, group, handler, offset }: Redrive,
): RecordHeader[] {
  const own = headers.filter((header) => !isRedriveHeader(header));
  const facts: [string, string][] = [
    [COUNT, String(count)],
    [GROUP, group],
    [HANDLER, handler],
    [TOPIC, topic],
  ];
  if (offset !== undefined) facts.push([OFFSET, String(offset)]);
  return [...own, ...facts.map(([name, value]): RecordHeader => [name, Buffer.from(value)])];
}

/**
 * `undefined` for a record that was not redriven, or says so in a way that nobody of us does. Only of a record in the topic
 * that it was put back into: whoever passes headers on, into a dead letter or a record of another topic, passes these on
 * too, and the handlers there have not dealt with it.
 */
export function redriveOf({ topic, headers }: Pick<KafkaRecord, 'topic' | 'headers'>): Redrive | undefined {
  const text = (name: string) => headerValue(headers, name)?.toString('utf8');
  if (text(TOPIC) !== topic) return undefined;
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
