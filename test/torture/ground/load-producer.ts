import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Admin, IHeaders, Kafka, Message, Producer } from 'kafkajs';
import { readRecords } from '../oracle/record-reader.js';
import { Turns } from '../turns.js';

/** Names a record for the load; the service does not look at it. */
const RECORD_HEADER = 'torture-record';
const RETRIES = 20;
const PAUSE = 1_000;

export type Messages = ReadonlyMap<string, readonly Message[]>;

/**
 * Has each record in its topic exactly once, by kafkajs' idempotent producer. After a change of leaders that one may end
 * for good ("out of order sequence number"): then whatever is missing in the topics is produced by a new one.
 */
export class LoadProducer {
  private producer: Producer;
  /** An idempotent producer of kafkajs numbers batches wrongly when it sends several at once. */
  private readonly turns = new Turns();

  constructor(
    private readonly kafka: Kafka,
    private readonly admin: Admin,
  ) {
    this.producer = this.create();
  }

  connect(): Promise<void> {
    return this.producer.connect();
  }

  disconnect(): Promise<void> {
    return this.producer.disconnect();
  }

  /** By topic. Resolves when all of them are there. */
  send(messages: Messages): Promise<void> {
    return this.turns.take(async () => {
      for (let left = named(messages); left.size > 0; left = await this.missing(left)) {
        const topicMessages = [...left].map(([topic, each]) => ({ topic, messages: [...each] }));
        const sent = await this.producer.sendBatch({ topicMessages }).then(
          () => true,
          () => false,
        );
        if (sent) return;
        await this.producer.disconnect().catch(() => undefined);
        // What is under way gets there, or nowhere.
        await sleep(PAUSE);
        this.producer = this.create();
        await this.producer.connect();
      }
    });
  }

  private create(): Producer {
    return this.kafka.producer({
      idempotent: true,
      metadataMaxAge: 2_000,
      retry: { retries: RETRIES, initialRetryTime: 100, maxRetryTime: 1_000 },
    });
  }

  private async missing(messages: Messages): Promise<Messages> {
    const records = await readRecords(this.kafka, this.admin, [...messages.keys()]);
    const there = new Set(records.map(({ message }) => message.headers?.[RECORD_HEADER]?.toString()));
    const left = new Map<string, Message[]>();
    for (const [topic, each] of messages) {
      const own = each.filter(({ headers }) => !there.has(headers?.[RECORD_HEADER] as string));
      if (own.length > 0) left.set(topic, own);
    }
    return left;
  }
}

function named(messages: Messages): Messages {
  const all = [...messages].filter(([, each]) => each.length > 0);
  return new Map(
    all.map(([topic, each]) => [
      topic,
      each.map((message) => ({ ...message, headers: withName(message.headers) })),
    ]),
  );
}

function withName(headers: IHeaders = {}): IHeaders {
  return { ...headers, [RECORD_HEADER]: randomUUID() };
}
