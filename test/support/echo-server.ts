import type { DriverConsumer, DriverProducer, KafkaDriver } from '../../lib/driver/driver.js';
import {
  headerValue,
  type KafkaRecord,
  type OutgoingRecord,
  type RecordHeader,
} from '../../lib/messages/record.js';
import { deferred, type Deferred } from '../../lib/runtime/deferred.js';

/** Answers each request with its own value, straight on the driver: a peer that shares no code with the client. */
export class EchoServer {
  readonly requests: KafkaRecord[] = [];
  /** How often each reply is produced. */
  copies = 1;
  /** Milliseconds that an answer takes. */
  delay: () => number = () => 0;
  private gate: Deferred<void> | undefined;
  private isStopped = false;
  private readonly consumer: DriverConsumer;
  private readonly producer: DriverProducer;

  constructor(
    driver: KafkaDriver,
    readonly topic: string,
  ) {
    this.producer = driver.createProducer();
    this.consumer = driver.createConsumer({
      groupId: `${topic}-server`,
      topics: [topic],
      fromBeginning: true,
      maxWaitTime: 100,
    });
  }

  async start(): Promise<void> {
    await this.producer.connect();
    await this.consumer.start({
      onAssigned: () => Promise.resolve(),
      onRevoked: () => Promise.resolve(),
      onRecords: (_, records) => {
        this.requests.push(...records);
        for (const record of records) void this.answer(record);
      },
      onStatus: () => undefined,
      onOffsetOutOfRange: () => undefined,
    });
  }

  /** Replies wait from now on. */
  hold(): void {
    this.gate ??= deferred();
  }

  release(): void {
    this.gate?.resolve();
    this.gate = undefined;
  }

  produce(record: OutgoingRecord): Promise<unknown> {
    return this.producer.send(record);
  }

  async stop(): Promise<void> {
    this.isStopped = true;
    await this.consumer.stop();
    await this.producer.disconnect();
  }

  close(): Promise<void> {
    return this.stop();
  }

  private async answer(request: KafkaRecord): Promise<void> {
    await this.gate?.promise;
    const delay = this.delay();
    if (delay > 0) await new Promise((resolve) => setTimeout(resolve, delay));
    if (this.isStopped) return;
    const headers: RecordHeader[] = [
      ['kafka_nest-is-disposed', Buffer.alloc(1)],
      ['kafka_correlationId', headerValue(request.headers, 'kafka_correlationId')!],
    ];
    const reply: OutgoingRecord = {
      topic: headerValue(request.headers, 'kafka_replyTopic')!.toString(),
      partition: Number(headerValue(request.headers, 'kafka_replyPartition')),
      key: null,
      value: request.value,
      headers,
    };
    for (let copy = 0; copy < this.copies; copy++) await this.producer.send(reply);
  }
}
