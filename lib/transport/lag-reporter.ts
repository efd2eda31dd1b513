import type { RecordConsumer } from '../consumption/record-consumer.js';
import type { KafkaDriver } from '../driver/driver.js';
import { describeError } from '../errors/describe-error.js';
import type { Clock } from '../runtime/clock.js';
import type { Log } from '../runtime/log.js';
import { operatorEvents } from '../runtime/operator-events.js';
import { Periodic } from '../runtime/periodic.js';

/** Between two reports, ms. */
const INTERVAL = 10_000;

/** Tells how far a group is behind on the partitions held here. Asks the broker only while somebody listens. */
export class LagReporter {
  private readonly task: Periodic;
  private admin: ReturnType<KafkaDriver['createAdmin']> | undefined;

  constructor(
    private readonly group: string,
    private readonly driver: KafkaDriver,
    private readonly records: RecordConsumer,
    clock: Clock,
    log: Log,
  ) {
    this.task = new Periodic(
      clock,
      INTERVAL,
      () => this.report(),
      (error) => log.debug(`The lag is not known: ${describeError(error)}`),
    );
  }

  start(): void {
    this.task.start();
  }

  /** Idempotent; tolerates never-started. */
  async stop(): Promise<void> {
    await this.task.stop();
    const { admin } = this;
    this.admin = undefined;
    await admin?.disconnect();
  }

  private async report(): Promise<void> {
    const { lag } = operatorEvents;
    const positions = this.records.positions;
    if (!lag.hasSubscribers || positions.length === 0) return;
    const admin = await this.connect();
    for (const topic of new Set(positions.map((position) => position.topic))) {
      const ends = new Map((await admin.watermarks(topic)).map(({ partition, high }) => [partition, high]));
      for (const { partition, offset } of positions.filter((position) => position.topic === topic)) {
        const end = ends.get(partition);
        if (end === undefined) continue;
        lag.publish({ group: this.group, topic, partition, offset, lag: end > offset ? end - offset : 0n });
      }
    }
  }

  private async connect() {
    if (this.admin) return this.admin;
    const admin = this.driver.createAdmin();
    await admin.connect();
    return (this.admin = admin);
  }
}
