import type {
  AssignedPartition,
  DriverReader,
  DriverReaderOptions,
  ReaderListener,
} from '../../driver/driver.js';
import { ConnectionClosedError, TopicMissingError } from '../../errors/errors.js';
import { partitionName, type TopicPartition } from '../../messages/record.js';
import { sleep } from '../../runtime/clock.js';
import type { Cluster } from './cluster.js';
import { Connection } from './connection.js';
import { PartitionReader } from './partition-reader.js';

const RETRY_MS = 100;

type Start = 'beginning' | 'end' | bigint;

interface Wanted {
  readonly partition: TopicPartition;
  reader: PartitionReader | undefined;
  started: Promise<void>;
}

/** Reads chosen partitions of the in-memory cluster, outside any group. */
export class InMemoryReader implements DriverReader {
  readonly #connection: Connection;
  readonly #wanted = new Map<string, Wanted>();
  readonly #stopping = new AbortController();
  #listener: ReaderListener | undefined;

  constructor(
    private readonly cluster: Cluster,
    private readonly options: DriverReaderOptions,
  ) {
    this.#connection = new Connection(cluster.broker, cluster.clock);
  }

  async start(listener: ReaderListener): Promise<void> {
    this.#listener = listener;
    const { topics } = this.cluster;
    await this.#connection.request('a metadata request', () => {
      const missing = this.options.topics.filter((topic) => !topics.get(topic));
      if (missing.length === 0) return;
      throw new TopicMissingError(`There is no topic "${missing.join('", "')}" to read. Create it first.`);
    });
  }

  stop(): Promise<void> {
    this.#stopping.abort();
    for (const { partition } of [...this.#wanted.values()]) this.drop(partition);
    return Promise.resolve();
  }

  read(partition: TopicPartition, from?: bigint): Promise<void> {
    const name = partitionName(partition);
    let wanted = this.#wanted.get(name);
    if (!wanted) {
      wanted = { partition, reader: undefined, started: Promise.resolve() };
      this.#wanted.set(name, wanted);
      wanted.started = this.#begin(wanted, from ?? 'end');
    }
    return wanted.started;
  }

  drop(partition: TopicPartition): void {
    const name = partitionName(partition);
    this.#wanted.get(name)?.reader?.halt();
    this.#wanted.delete(name);
  }

  /** As if this process had died. */
  crash(): void {
    this.#connection.sever();
    void this.stop();
  }

  async #begin(wanted: Wanted, from: Start): Promise<void> {
    const { signal } = this.#stopping;
    while (this.#isWanted(wanted)) {
      const position = await this.#connection
        .request('an offset request', () => this.#position(wanted.partition, from))
        .catch(() => undefined);
      if (position) {
        if (this.#isWanted(wanted)) this.#follow(wanted, position);
        return;
      }
      await sleep(this.cluster.clock, RETRY_MS, signal);
    }
    if (signal.aborted) {
      throw new ConnectionClosedError(`Reading ${partitionName(wanted.partition)} was ended before it began`);
    }
  }

  #isWanted(wanted: Wanted): boolean {
    return !this.#stopping.signal.aborted && this.#wanted.get(partitionName(wanted.partition)) === wanted;
  }

  #position({ topic, partition }: TopicPartition, from: Start): AssignedPartition | undefined {
    const found = this.cluster.topics.get(topic);
    const log = found?.partitions[partition];
    if (!found || !log) return undefined;
    const startOffset = from === 'end' ? log.high : from === 'beginning' ? log.low : from;
    return { topic, partition, topicId: found.topicId, rebalanceId: 0, startOffset };
  }

  #follow(wanted: Wanted, position: AssignedPartition): void {
    const begin = () => {
      this.#begin(wanted, 'beginning').catch(() => undefined);
    };
    wanted.reader = new PartitionReader([position], this.#connection, this.cluster.topics, this.options, {
      onRecords: (partition, records) => this.#listener?.onRecords(partition, records),
      onOffsetOutOfRange: (...facts) => this.#listener?.onOffsetOutOfRange(...facts),
      onPassed: (...facts) => this.#listener?.onPassed?.(...facts),
      onUnknownTopic: () => {
        wanted.reader?.halt();
        begin();
      },
      onError: (error) => {
        const detail = error instanceof Error ? error.message : String(error);
        this.#listener?.onStatus('crashed', detail);
      },
    });
    wanted.reader.start();
  }
}
