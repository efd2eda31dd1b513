import type { OutgoingRecord, RecordHeader, RecordMetadata } from '../../messages/record.js';

type NativeBytes = Buffer | string | null;

/** A message as kafkajs takes it. */
export interface NativeMessage {
  readonly key?: NativeBytes | undefined;
  readonly value: NativeBytes;
  readonly partition?: number | undefined;
  readonly headers?:
    Readonly<Record<string, Buffer | string | readonly (Buffer | string)[] | undefined>> | undefined;
  /** Milliseconds since the epoch. */
  readonly timestamp?: string | undefined;
}

export interface NativeTopicMessages {
  readonly topic: string;
  readonly messages: readonly NativeMessage[];
}

/** One per partition, as kafkajs tells it. */
export interface NativeRecordMetadata {
  readonly topicName: string;
  readonly partition: number;
  readonly errorCode: 0;
  readonly baseOffset: string;
}

/** What handlers reach through `KafkaContext.getProducer()`: kafkajs' `send` and `sendBatch`. */
export class NativeProducer {
  constructor(private readonly sendOne: (record: OutgoingRecord) => Promise<RecordMetadata>) {}

  send(batch: NativeTopicMessages): Promise<NativeRecordMetadata[]> {
    return this.sendBatch({ topicMessages: [batch] });
  }

  async sendBatch(batch: {
    readonly topicMessages?: readonly NativeTopicMessages[];
  }): Promise<NativeRecordMetadata[]> {
    const records = (batch.topicMessages ?? []).flatMap(({ topic, messages }) =>
      messages.map((message) => outgoing(topic, message)),
    );
    const first = new Map<string, NativeRecordMetadata>();
    for (const { topic, partition, offset } of await Promise.all(records.map(this.sendOne))) {
      const name = `${topic}[${partition}]`;
      if (!first.has(name)) {
        first.set(name, { topicName: topic, partition, errorCode: 0, baseOffset: String(offset) });
      }
    }
    return [...first.values()];
  }
}

/** A kafkajs message as a record: text becomes UTF-8, a header with several values several headers. */
export function outgoing(topic: string, message: NativeMessage): OutgoingRecord {
  const headers: RecordHeader[] = [];
  for (const [name, value] of Object.entries(message.headers ?? {})) {
    const values = Array.isArray(value)
      ? (value as readonly (Buffer | string)[])
      : [value as Buffer | string | undefined];
    for (const each of values) headers.push([name, each === undefined ? null : bytes(each)]);
  }
  return {
    topic,
    partition: message.partition,
    key: bytes(message.key ?? null),
    value: bytes(message.value),
    headers,
    timestamp: message.timestamp === undefined ? undefined : Number(message.timestamp),
  };
}

function bytes(value: NativeBytes): Buffer | null {
  return typeof value === 'string' ? Buffer.from(value, 'utf8') : value;
}
