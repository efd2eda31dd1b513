import type {
  AssignedPartition,
  ConsumerListener,
  ConsumerStatus,
  DriverConsumer,
} from '../driver/driver.js';
import { ConnectionClosedError, ReplyPartitionMissingError } from '../errors/errors.js';
import { deferred } from '../runtime/deferred.js';
import type { Log } from '../runtime/log.js';
import { clientMessages } from './client.messages.js';
import { replyPartitions, type ReplyPartitions } from './reply-partition-assigner.js';
import type { ReplyPath, ReplyPathHooks } from './reply-path.js';
import type { ReplyReader } from './reply-reader.js';

/**
 * A reply partition of its own for each client of a group. The group only agrees on who has which: reading is none of its
 * business, so a rebalance, however long somebody else holds it up, neither delays a reply nor keeps a request back.
 */
export class ExclusiveReplyPath implements ReplyPath, ConsumerListener {
  private targets: ReplyPartitions = {};
  /** From an assignment to the next revocation: what was not given now will not come by waiting. */
  private isSettled = false;
  private isStopped = false;
  private assignments = 0;
  private change = deferred();
  private missing = new Map<string, Promise<string>>();

  constructor(
    readonly topics: ReadonlySet<string>,
    private readonly consumer: DriverConsumer,
    private readonly reader: ReplyReader,
    private readonly log: Log,
    private readonly hooks: ReplyPathHooks,
  ) {}

  get partitions(): ReplyPartitions {
    return this.targets;
  }

  start(): Promise<void> {
    return this.consumer.start(this);
  }

  stop(): Promise<void> {
    this.isStopped = true;
    this.targets = {};
    this.notify();
    return this.consumer.stop();
  }

  async waitForPartition(topic: string): Promise<number> {
    for (;;) {
      const partition = this.targets[topic];
      if (partition !== undefined) return partition;
      if (this.isStopped) throw new ConnectionClosedError(clientMessages.closedBeforeSent());
      if (this.isSettled) throw new ReplyPartitionMissingError(await this.explainMissing(topic));
      await this.change.promise;
    }
  }

  async onAssigned(partitions: readonly AssignedPartition[]): Promise<void> {
    const assignment = ++this.assignments;
    this.consumer.pause(partitions);
    const previous = this.targets;
    const next = replyPartitions(previous, partitions);
    const [gained, given] = [entries(next, previous), entries(previous, next)];
    await Promise.all(gained.map((partition) => this.reader.use(partition)));
    // The end of a partition may take long to find out while brokers are away: a later assignment counts.
    if (this.isStopped || assignment !== this.assignments) return;
    this.targets = next;
    this.isSettled = true;
    this.missing = new Map();
    this.notify();
    for (const partition of given) void this.reader.release(partition);
    for (const topic of this.topics) if (next[topic] === undefined) void this.tellMissing(topic);
  }

  /** What was given stays in use until the group says otherwise. */
  onRevoked(): Promise<void> {
    this.isSettled = false;
    return Promise.resolve();
  }

  /** All of it is paused. */
  onRecords(): void {}

  onOffsetOutOfRange(): void {}

  onStatus(status: ConsumerStatus, detail?: string): void {
    if (status === 'crashed')
      this.log.warn(`The reply consumer rejoins its group: ${detail ?? 'no reason given'}`);
    this.hooks.onStatus(status);
  }

  private notify(): void {
    this.change.resolve();
    this.change = deferred();
  }

  private async tellMissing(topic: string): Promise<void> {
    const text = await this.explainMissing(topic);
    if (!this.isStopped) this.log.error(text);
  }

  /** Asked for once per assignment, however many requests fail. */
  private explainMissing(topic: string): Promise<string> {
    let text = this.missing.get(topic);
    if (!text) {
      text = this.hooks
        .countPartitions(topic)
        .catch(() => undefined)
        .then((count) => clientMessages.partitionMissing(topic, count));
      this.missing.set(topic, text);
    }
    return text;
  }
}

/** What is in `these` and not, or otherwise, in `those`. */
function entries(these: ReplyPartitions, those: ReplyPartitions): { topic: string; partition: number }[] {
  return Object.entries(these)
    .filter(([topic, partition]) => those[topic] !== partition)
    .map(([topic, partition]) => ({ topic, partition }));
}
