import { randomUUID } from 'node:crypto';
import { KafkajsDriver } from '../../../lib/driver/kafkajs/kafkajs-driver.js';
import type {
  AssignedPartition,
  ConsumerListener,
  DriverAdmin,
  DriverConsumer,
  DriverConsumerOptions,
  RevocationReason,
} from '../../../lib/driver/driver.js';
import type { KafkaRecord, OutgoingRecord } from '../../../lib/messages/record.js';
import { systemClock } from '../../../lib/runtime/clock.js';
import { silentLog, type Log } from '../../../lib/runtime/log.js';

export function brokers(): string[] {
  const list = process.env['KAFKA_BROKERS'];
  if (!list) throw new Error('KAFKA_BROKERS is not set: these tests need a real broker');
  return list.split(',');
}

export function createDriver(log: Log = silentLog): KafkajsDriver {
  return new KafkajsDriver({ clientId: 'driver-test', brokers: brokers() }, systemClock, log);
}

export const unique = (prefix: string): string => `${prefix}-${randomUUID().slice(0, 8)}`;

/** Milliseconds. At most this long takes what must not wait for anything, on a busy machine too. */
export const SOON = 20_000;
/** Milliseconds. Longer than `SOON`: who waits for a fetch or a rebalance of this length to end is caught. */
export const LONG = 60_000;

/** Resolves as soon as `condition` holds; the error says what was waited for. */
export async function eventually(
  what: string,
  condition: () => boolean | Promise<boolean>,
  timeout = 100_000,
) {
  const deadline = Date.now() + timeout;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`Waited ${timeout} ms in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

export function record(
  topic: string,
  value: string | null,
  more: Partial<OutgoingRecord> = {},
): OutgoingRecord {
  return { topic, key: null, value: value === null ? null : Buffer.from(value), headers: [], ...more };
}

/** A listener that notes everything; its methods can be replaced. */
export class Recorder implements ConsumerListener {
  readonly records: KafkaRecord[] = [];
  readonly assigned: (readonly AssignedPartition[])[] = [];
  readonly revoked: { partitions: readonly AssignedPartition[]; reason: RevocationReason }[] = [];
  readonly statuses: string[] = [];
  readonly outOfRange: { wanted: bigint; resumeAt: bigint }[] = [];
  whenAssigned: (partitions: readonly AssignedPartition[]) => Promise<void> = () => Promise.resolve();
  whenRevoked: (partitions: readonly AssignedPartition[], reason: RevocationReason) => Promise<void> = () =>
    Promise.resolve();
  whenRecords: (partition: AssignedPartition, records: readonly KafkaRecord[]) => void = () => undefined;

  async onAssigned(partitions: readonly AssignedPartition[]): Promise<void> {
    this.assigned.push(partitions);
    await this.whenAssigned(partitions);
  }

  async onRevoked(partitions: readonly AssignedPartition[], reason: RevocationReason): Promise<void> {
    this.revoked.push({ partitions, reason });
    await this.whenRevoked(partitions, reason);
  }

  onRecords(partition: AssignedPartition, records: readonly KafkaRecord[]): void {
    this.records.push(...records);
    this.whenRecords(partition, records);
  }

  onStatus(status: string, detail?: string): void {
    this.statuses.push(detail === undefined ? status : `${status}: ${detail}`);
  }

  onOffsetOutOfRange(_partition: AssignedPartition, wanted: bigint, resumeAt: bigint): void {
    this.outOfRange.push({ wanted, resumeAt });
  }

  get values(): string[] {
    return this.records.map(({ value }) => String(value));
  }

  get held(): readonly AssignedPartition[] {
    return this.assigned.at(-1) ?? [];
  }
}

/** A driver, an admin and whatever a test starts, all undone by `close`. */
export class Bench {
  readonly driver: KafkajsDriver;
  readonly admin: DriverAdmin;
  private readonly topics: string[] = [];
  private readonly groups: string[] = [];
  private readonly undo: (() => Promise<void>)[] = [];

  constructor(log?: Log) {
    this.driver = createDriver(log);
    this.admin = this.driver.createAdmin();
  }

  async topic(
    partitions = 1,
    configEntries: { name: string; value: string }[] = [],
    name = unique('driver'),
  ) {
    this.topics.push(name);
    await this.admin.createTopics([{ topic: name, partitions, replicationFactor: 1, configEntries }]);
    return name;
  }

  group(): string {
    const group = unique('driver-group');
    this.groups.push(group);
    return group;
  }

  async producer() {
    const producer = this.driver.createProducer();
    await producer.connect();
    this.undo.push(() => producer.disconnect());
    return producer;
  }

  async consumer(
    options: Partial<DriverConsumerOptions> & Pick<DriverConsumerOptions, 'topics'>,
    recorder = new Recorder(),
    driver = this.driver,
  ): Promise<{ consumer: DriverConsumer; recorder: Recorder }> {
    const consumer = driver.createConsumer({ groupId: this.group(), fromBeginning: true, ...options });
    this.undo.push(() => consumer.stop());
    await consumer.start(recorder);
    return { consumer, recorder };
  }

  async close(): Promise<void> {
    for (const step of this.undo.reverse()) await step();
    for (const group of this.groups) await this.admin.deleteGroup(group).catch(() => undefined);
    await this.admin.deleteTopics(this.topics);
    await this.admin.disconnect();
  }
}
