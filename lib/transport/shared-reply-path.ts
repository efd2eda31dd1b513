import { ConnectionClosedError, ReplyPartitionMissingError } from '../errors/errors.js';
import type { Clock } from '../runtime/clock.js';
import { clientMessages } from './client.messages.js';
import type { ReplyPartitions } from './reply-partition-assigner.js';
import type { ReplyPath, ReplyPathHooks } from './reply-path.js';
import type { ReplyReader } from './reply-reader.js';

/**
 * A partition of each reply topic, drawn by lot and for good. Clients may have the same: each reads all replies there and
 * passes over those to others. There is no group, so any number of clients works, and none hears of another.
 */
export class SharedReplyPath implements ReplyPath {
  private targets: ReplyPartitions = {};
  private isStopped = false;

  constructor(
    readonly topics: ReadonlySet<string>,
    private readonly reader: ReplyReader,
    private readonly clock: Clock,
    private readonly hooks: Pick<ReplyPathHooks, 'countPartitions'>,
  ) {}

  get partitions(): ReplyPartitions {
    return this.targets;
  }

  async start(): Promise<void> {
    const targets = Object.create(null) as Record<string, number>;
    const choose = async (topic: string) => {
      const count = await this.hooks.countPartitions(topic);
      const partition = (targets[topic] = Math.floor(this.clock.random() * count));
      await this.reader.use({ topic, partition });
    };
    await Promise.all([...this.topics].map(choose));
    if (!this.isStopped) this.targets = targets;
  }

  stop(): Promise<void> {
    this.isStopped = true;
    this.targets = {};
    return Promise.resolve();
  }

  waitForPartition(topic: string): Promise<number> {
    const partition = this.targets[topic];
    if (partition !== undefined) return Promise.resolve(partition);
    return Promise.reject(
      this.isStopped
        ? new ConnectionClosedError(clientMessages.closedBeforeSent())
        : new ReplyPartitionMissingError(clientMessages.partitionMissing(topic, undefined)),
    );
  }
}
