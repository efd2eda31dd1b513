/**
 * How a handler of a message ends, where not well. `retry`: fails twice. `dead`: fails always. `terminal`: by a terminal
 * exception. `sick`: fails until it is mended at the end of the run, and is parked meanwhile.
 */
export type Failure = 'retry' | 'dead' | 'terminal' | 'sick';

/** Value of a message. */
export interface Work {
  /** Two records with one id are one message. */
  readonly id: string;
  /** Key of the record. */
  readonly key: string;
  /** Counts the messages of the key. */
  readonly seq: number;
  /** How long its handlers take. */
  readonly millis: number;
  readonly failure?: Failure | undefined;
  /** Which life of its topic it was produced to, where topics are deleted and made anew. */
  readonly wave?: number | undefined;
}

export interface TortureTopics {
  /** Two handlers. The first emits to `out`. */
  readonly events: string;
  readonly requests: string;
  readonly out: string;
  /** Deleted and made anew. One handler. */
  readonly volatile: string;
}

/** Names of the handlers; the first of a topic is the one that may fail. */
export const handlers = {
  event: 'torture.event',
  audit: 'torture.audit',
  request: 'torture.request',
  volatile: 'torture.volatile',
} as const;

export type HandlerName = (typeof handlers)[keyof typeof handlers];

/** Header of records that no honest producer writes; its value says what is wrong with them. */
export const HOSTILE_HEADER = 'torture-hostile';

export function handlersOf(topic: string, topics: TortureTopics): HandlerName[] {
  if (topic === topics.events) return [handlers.event, handlers.audit];
  if (topic === topics.requests) return [handlers.request];
  return topic === topics.volatile ? [handlers.volatile] : [];
}

/** What a value says, or `undefined` if it is none of ours. */
export function readWork(value: unknown): Work | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { id, key, seq, millis } = value as Partial<Work>;
  const sound = typeof id === 'string' && typeof key === 'string' && Number.isInteger(seq);
  return sound && typeof millis === 'number' ? (value as Work) : undefined;
}

/** Names a record; stands for the id of one whose value is none of ours. */
export function positionOf(topic: string, partition: number, offset: string | bigint): string {
  return `@${topic}/${partition}/${offset}`;
}
