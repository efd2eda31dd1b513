import { TopicMissingError } from '../../errors/errors.js';
import type { TopicPartition } from '../../messages/record.js';
import { sleep, type Clock, type Timer } from '../../runtime/clock.js';
import type { Log } from '../../runtime/log.js';
import type { Connections } from './connections.js';
import { text } from './errors.js';
import type { ClusterMetadata, PartitionMetadata, TopicMetadata } from './metadata-request.js';

/** Between two refreshes that failures ask for. */
const SHORTEST_INTERVAL = 250;
/** How long a named topic may take to be known to the broker that is asked. */
const MISSING_ATTEMPTS = 5;
const MISSING_WAIT = 200;

const NOTHING: ClusterMetadata = {
  nodes: [],
  controllerId: -1,
  clusterId: undefined,
  topics: new Map(),
};

/** What a consumer knows of its topics, refreshed by age and on demand. */
export class Topology {
  private metadata = NOTHING;
  private ageTimer: Timer | undefined;
  private soonTimer: Timer | undefined;
  private refreshing: Promise<void> | undefined;
  private lastRefresh = -Infinity;
  private closed = false;
  /** Topics of other members, which the leader has to know as well. */
  private others: readonly string[] = [];

  constructor(
    private readonly connections: Connections,
    private readonly subscription: readonly (string | RegExp)[],
    private readonly maxAge: number,
    private readonly clock: Clock,
    private readonly log: Log,
    /** After each refresh. */
    private readonly changed: () => void,
  ) {}

  /** @throws TopicMissingError if a named topic does not exist. */
  async start(): Promise<void> {
    this.closed = false;
    for (let attempt = 1; ; attempt++) {
      await this.refresh();
      const missing = this.subscription.filter((topic) => typeof topic === 'string' && !this.topic(topic));
      if (missing.length === 0) return;
      if (attempt === MISSING_ATTEMPTS) {
        throw new TopicMissingError(
          `Topic ${missing.map((topic) => `"${String(topic)}"`).join(', ')} does not exist. Create it, or set the option ` +
            '"provision" to have missing topics created.',
        );
      }
      await sleep(this.clock, MISSING_WAIT);
    }
  }

  stop(): void {
    this.closed = true;
    this.clock.clearTimeout(this.ageTimer);
    this.clock.clearTimeout(this.soonTimer);
    this.soonTimer = undefined;
  }

  /** Callers at the same time share one request. Rejects if no broker answers. */
  refresh(): Promise<void> {
    this.refreshing ??= this.load().finally(() => {
      this.refreshing = undefined;
    });
    return this.refreshing;
  }

  /** After a failure that newer metadata may cure. Never more often than every 250 ms. */
  refreshSoon(): void {
    if (this.closed || this.soonTimer !== undefined || this.refreshing) return;
    const wait = Math.max(0, this.lastRefresh + SHORTEST_INTERVAL - this.clock.monotonic());
    this.soonTimer = this.clock.setTimeout(() => {
      this.soonTimer = undefined;
      this.refreshInBackground();
    }, wait);
  }

  get clusterId(): string | undefined {
    return this.metadata.clusterId;
  }

  /** Names, and what the patterns match now. */
  subscribedTopics(): string[] {
    const topics = new Set<string>();
    for (const entry of this.subscription) {
      if (typeof entry === 'string') topics.add(entry);
      else {
        for (const { topic, isInternal } of this.metadata.topics.values()) {
          entry.lastIndex = 0; // a pattern with the flag g remembers where it stopped
          if (!isInternal && entry.test(topic)) topics.add(topic);
        }
      }
    }
    return [...topics].sort();
  }

  /** Also keeps these topics known: the leader deals out what other members subscribe to. */
  async include(topics: readonly string[]): Promise<void> {
    this.others = topics;
    await this.refresh();
  }

  /** `undefined` for one that does not exist. */
  topic(name: string): TopicMetadata | undefined {
    const topic = this.metadata.topics.get(name);
    return topic && topic.errorCode === 0 && topic.partitions.length > 0 ? topic : undefined;
  }

  has({ topic, partition }: TopicPartition): boolean {
    return this.topic(topic)?.partitions.some((known) => known.partition === partition) ?? false;
  }

  /** The node to fetch from; `undefined` while there is none. */
  leader(partition: TopicPartition): number | undefined {
    const leader = this.partition(partition)?.leader;
    return leader === undefined || leader < 0 ? undefined : leader;
  }

  /** -1 if it is not known. */
  leaderEpoch(partition: TopicPartition): number {
    return this.partition(partition)?.leaderEpoch ?? -1;
  }

  private partition({ topic, partition }: TopicPartition): PartitionMetadata | undefined {
    return this.topic(topic)?.partitions.find((known) => known.partition === partition);
  }

  private async load(): Promise<void> {
    const byPattern = this.subscription.some((entry) => typeof entry !== 'string');
    const names = byPattern ? null : [...new Set([...(this.subscription as string[]), ...this.others])];
    this.clock.clearTimeout(this.ageTimer);
    try {
      this.metadata = await this.connections.metadata(names);
    } finally {
      this.lastRefresh = this.clock.monotonic();
      this.clock.clearTimeout(this.ageTimer);
      if (!this.closed) this.ageTimer = this.clock.setTimeout(() => this.refreshInBackground(), this.maxAge);
    }
    if (!this.closed) this.changed();
  }

  private refreshInBackground(): void {
    this.refresh().catch((error: unknown) => this.log.debug(`Metadata refresh: ${text(error)}`));
  }
}
