import type { TopicDescription } from '../../driver/driver.js';
import type { Connection } from './connection.js';
import type { TopicStore } from './topic-store.js';

/** What a consumer asked for, matched against the topics that there are. */
export class Subscription {
  #current: readonly TopicDescription[] = [];
  #known: ReadonlySet<string> | undefined;
  readonly #names: readonly string[];
  readonly #patterns: readonly RegExp[];

  constructor(
    private readonly connection: Connection,
    private readonly store: TopicStore,
    topics: readonly (string | RegExp)[],
  ) {
    this.#names = [...new Set(topics.filter((topic) => typeof topic === 'string'))];
    this.#patterns = topics.filter((topic) => typeof topic !== 'string');
  }

  /** Every name, existing or not, and what the patterns matched. */
  get topics(): string[] {
    return [...new Set([...this.#names, ...this.#current.map(({ topic }) => topic)])];
  }

  /** Those that exist. */
  get current(): readonly TopicDescription[] {
    return this.#current;
  }

  /** Names without a topic. */
  get missing(): string[] {
    return this.#names.filter((name) => !this.#current.some(({ topic }) => topic === name));
  }

  /** Looks again. Resolves to whether topics or partitions came or went since the last look. */
  async refresh(): Promise<boolean> {
    const next = await this.connection.request('a metadata request', () =>
      this.store.describe(this.store.names().filter((name) => this.#matches(name))),
    );
    const before = fingerprint(this.#current);
    this.#current = next;
    this.#known ??= new Set(next.flatMap(identities));
    return fingerprint(next) !== before;
  }

  /** Whether a partition came into being after the first look: then all of it is "what comes later". */
  isLater(topicId: string, partition: number): boolean {
    return this.#known !== undefined && !this.#known.has(identity(topicId, partition));
  }

  #matches(name: string): boolean {
    // `search` starts at the beginning whatever flags a pattern has; `test` would go on where it stopped last.
    return this.#names.includes(name) || this.#patterns.some((pattern) => name.search(pattern) >= 0);
  }
}

function identity(topicId: string, partition: number): string {
  return `${topicId}/${partition}`;
}

function identities({ topicId, partitions }: TopicDescription): string[] {
  return partitions.map((partition) => identity(topicId, partition));
}

function fingerprint(topics: readonly TopicDescription[]): string {
  return topics.flatMap(identities).sort().join();
}
