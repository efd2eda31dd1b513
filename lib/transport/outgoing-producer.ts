import { systemClock } from '../runtime/clock.js';
import type { DriverProducer } from '../driver/driver.js';
import type { OutgoingRecord, RecordMetadata } from '../messages/record.js';
import type { Log } from '../runtime/log.js';
import { createDefaultDriver } from './default-driver.js';
import { driverProducerOptions } from './driver-options.js';
import type { KafkaTransportOptions } from './kafka-transport.options.js';
import { resolveOptions, type ResolvedOptions } from './resolve-options.js';

/** What a producer on its own needs of the transport's options. */
export type OutgoingProducerOptions = Pick<
  KafkaTransportOptions,
  'client' | 'driver' | 'producer' | 'send' | 'provision' | 'clock'
>;

/** A producer for applications that do not listen: connects when it is first used, and again after it failed to. */
export class OutgoingProducer {
  private readonly resolved: ResolvedOptions;
  private connecting: Promise<DriverProducer> | undefined;
  private closed = false;

  /** @throws InvalidOptionError */
  constructor(
    options: OutgoingProducerOptions,
    private readonly log: Log,
  ) {
    this.resolved = resolveOptions(options, 'client');
  }

  async send(record: OutgoingRecord): Promise<RecordMetadata> {
    this.connecting ??= this.connect();
    return (await this.connecting).send(record);
  }

  /** Waits for what was sent. Idempotent; tolerates never-used. */
  async close(): Promise<void> {
    this.closed = true;
    const producer = await this.connecting?.catch(() => undefined);
    await producer?.disconnect();
  }

  private async connect(): Promise<DriverProducer> {
    const { resolved } = this;
    const { given, clientId, brokers } = resolved;
    const driver =
      given.driver ??
      createDefaultDriver({ ...given.client, clientId, brokers }, given.clock ?? systemClock, this.log);
    const producer = driver.createProducer(driverProducerOptions(resolved));
    try {
      await producer.connect();
    } catch (error) {
      if (!this.closed) this.connecting = undefined;
      await producer.disconnect();
      throw error;
    }
    return producer;
  }
}
