import type { Kafka, Producer } from 'kafkajs';
import type { Transfer } from './services/messages.js';

/** Publishes transfers, each under its idempotency key, as the bank's front end would. */
export class TransferProducer {
  private readonly producer: Producer;

  constructor(
    kafka: Kafka,
    private readonly topic: string,
  ) {
    this.producer = kafka.producer({ idempotent: true });
  }

  connect(): Promise<void> {
    return this.producer.connect();
  }

  disconnect(): Promise<void> {
    return this.producer.disconnect();
  }

  /** Resolves when the broker has acknowledged all. A repetition is byte for byte the same record. */
  async produce(transfers: readonly Transfer[]): Promise<void> {
    for (let start = 0; start < transfers.length; start += 1_000) {
      await this.producer.send({
        topic: this.topic,
        messages: transfers.slice(start, start + 1_000).map((transfer) => ({
          key: String(transfer.from),
          value: JSON.stringify(transfer),
          headers: { 'idempotency-key': `transfer-${transfer.id}` },
        })),
      });
    }
  }
}
