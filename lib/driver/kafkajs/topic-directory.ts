import { ProduceError } from '../../errors/errors.js';
import type { TopicPartition } from '../../messages/record.js';
import { isTopicName } from '../../messages/topic-name.js';
import type { Clock } from '../../runtime/clock.js';
import type { Connections } from './connections.js';
import { unreachable, text } from './errors.js';
import type { PartitionMetadata, TopicMetadata } from './metadata-request.js';

export interface Lookup {
  found(partitions: readonly PartitionMetadata[]): void;
  failed(error: unknown): void;
}

interface Waiting extends Lookup {
  readonly partition: number | undefined;
}

interface Known {
  readonly topic: TopicMetadata;
  /** Monotonic. */
  readonly asOf: number;
}

/** What a producer knows of the topics that it has been used for. */
export class TopicDirectory {
  private readonly topics = new Map<string, Known>();
  private readonly waiting = new Map<string, Waiting[]>();

  constructor(
    private readonly connections: Connections,
    private readonly maxAge: number,
    private readonly create: boolean,
    private readonly clock: Clock,
  ) {}

  clear(): void {
    this.topics.clear();
  }

  /**
   * At once if topic and partition are known, after one refresh otherwise. Look-ups of a topic are answered in their
   * order, so that a record never overtakes an earlier one that had to wait.
   */
  resolve(topic: string, partition: number | undefined, lookup: Lookup): void {
    // No broker ever has it: whoever forges a reply topic must not make others wait for its creation.
    if (!isTopicName(topic)) return void lookup.failed(invalidName(topic));
    const queue = this.waiting.get(topic);
    if (queue) return void queue.push({ ...lookup, partition });
    const known = this.topics.get(topic);
    if (!known || !has(known.topic, partition)) {
      this.waiting.set(topic, [{ ...lookup, partition }]);
      void this.load(topic);
      return;
    }
    // Answers from what is known, and learns of new partitions in the background.
    if (this.clock.monotonic() - known.asOf > this.maxAge) {
      this.topics.set(topic, { ...known, asOf: this.clock.monotonic() });
      this.refresh([topic]).catch(() => undefined);
    }
    lookup.found(known.topic.partitions);
  }

  leader({ topic, partition }: TopicPartition): number | undefined {
    const known = this.topics
      .get(topic)
      ?.topic.partitions.find((candidate) => candidate.partition === partition);
    return known === undefined || known.leader < 0 ? undefined : known.leader;
  }

  async refresh(topics: readonly string[]): Promise<void> {
    const metadata = await this.connections.metadata(topics, this.create);
    for (const name of topics) {
      const topic = metadata.topics.get(name);
      if (topic?.errorCode === 0) this.topics.set(name, { topic, asOf: this.clock.monotonic() });
    }
  }

  private async load(topic: string): Promise<void> {
    let failure: unknown;
    try {
      await this.refresh([topic]);
      if (this.create && !this.topics.has(topic)) await this.untilCreated(topic);
    } catch (error) {
      failure = unreachable(error);
    }
    const waiting = this.waiting.get(topic) ?? [];
    this.waiting.delete(topic);
    const known = this.topics.get(topic)?.topic;
    for (const { partition, found, failed } of waiting) {
      if (known && has(known, partition)) found(known.partitions);
      else failed(refusal(topic, partition, known, failure));
    }
  }

  /** A broker creates a topic that it is asked about, but answers before it is done. */
  private async untilCreated(topic: string): Promise<void> {
    for (let attempt = 0; attempt < 30 && !this.topics.has(topic); attempt++) {
      await new Promise<void>((resolve) => this.clock.setTimeout(resolve, 100));
      await this.refresh([topic]);
    }
  }
}

function has(topic: TopicMetadata, partition: number | undefined): boolean {
  return partition === undefined || topic.partitions.some((known) => known.partition === partition);
}

function invalidName(topic: string): Error {
  return new ProduceError(
    `A record for "${topic.slice(0, 60)}" was not sent: a topic's name has 1 to 249 letters, digits, dots, dashes and ` +
      'underscores',
  );
}

function refusal(
  topic: string,
  partition: number | undefined,
  known: TopicMetadata | undefined,
  failure: unknown,
): Error {
  if (failure) {
    const message = `A record for "${topic}" was not sent: ${text(failure)}`;
    return new ProduceError(message, { cause: failure, retryable: true });
  }
  if (!known) {
    return new ProduceError(
      `A record for "${topic}" was not sent: the topic does not exist. Create it first.`,
    );
  }
  return new ProduceError(
    `A record for ${topic}[${partition}] was not sent: the topic has ${known.partitions.length} partitions`,
  );
}
