import { ConnectionClosedError } from '../../errors/errors.js';
import { partitionName, type TopicPartition } from '../../messages/record.js';
import { sleep, type Clock } from '../../runtime/clock.js';
import type { Log } from '../../runtime/log.js';
import type { DriverReader, DriverReaderOptions, ReaderListener } from '../driver.js';
import type { Connections } from './connections.js';
import { isFatal, memberError, text } from './errors.js';
import { fetcherOptions } from './fetcher-options.js';
import { Fetcher } from './fetcher.js';
import { LogHistory, NO_EPOCH } from './log-history.js';
import { LATEST } from './offset-requests.js';
import { reportTrouble } from './report-trouble.js';
import { listOffsets } from './start-offsets.js';
import { Topology } from './topology.js';
import { NO_TOPIC_ID } from './wire.js';

const RETRY = 250;

/** A partition that is to be read: `topicId` is set once it is. */
interface Wanted {
  readonly partition: TopicPartition;
  topicId: string | undefined;
  started: Promise<void>;
}

/** A fetcher on its own, without a group member to tell it what to read. */
export class KafkajsReader implements DriverReader {
  private readonly topology: Topology;
  private readonly history: LogHistory;
  private readonly fetcher: Fetcher;
  private readonly wanted = new Map<string, Wanted>();
  private readonly stopping = new AbortController();
  private listener: ReaderListener | undefined;
  private stopped: Promise<void> | undefined;

  constructor(
    private readonly options: DriverReaderOptions,
    private readonly connections: Connections,
    private readonly clock: Clock,
    private readonly log: Log,
  ) {
    const { topics, metadataMaxAge = 300_000 } = options;
    this.topology = new Topology(connections, topics, metadataMaxAge, clock, log, () => this.followRenewed());
    this.history = new LogHistory(connections, this.topology);
    this.fetcher = new Fetcher(
      connections,
      this.topology,
      this.history,
      fetcherOptions(options),
      {
        records: (partition, records) => this.listener?.onRecords(partition, records),
        outOfRange: (...facts) => this.listener?.onOffsetOutOfRange(...facts),
        trouble: (...facts) => reportTrouble(...facts, log, this.listener),
        fetched: () => undefined,
        passed: (partition, nextOffset) => this.listener?.onPassed?.(partition, nextOffset),
        isCurrent: () => !this.stopping.signal.aborted,
      },
      clock,
    );
  }

  async start(listener: ReaderListener): Promise<void> {
    this.listener = listener;
    try {
      await this.connections.connect();
      await this.topology.start();
    } catch (error) {
      await this.stop();
      throw memberError(error, `Starting to read "${this.options.topics.join('", "')}"`);
    }
  }

  stop(): Promise<void> {
    return (this.stopped ??= this.tearDown());
  }

  read(partition: TopicPartition, from?: bigint): Promise<void> {
    const name = partitionName(partition);
    let wanted = this.wanted.get(name);
    if (!wanted) {
      wanted = { partition, topicId: undefined, started: Promise.resolve() };
      this.wanted.set(name, wanted);
      wanted.started = this.begin(wanted, from);
    }
    return wanted.started;
  }

  drop(partition: TopicPartition): void {
    this.wanted.delete(partitionName(partition));
    this.fetcher.drop(partition);
  }

  private async begin(wanted: Wanted, from: bigint | undefined): Promise<void> {
    const { partition } = wanted;
    const { signal } = this.stopping;
    while (this.isWanted(wanted)) {
      try {
        const start = from ?? (await this.endOf(partition));
        if (this.isWanted(wanted)) this.follow(wanted, start);
        return;
      } catch (error) {
        if (isFatal(error) && !signal.aborted) {
          this.drop(partition);
          throw memberError(error, `Reading ${partitionName(partition)}`);
        }
        this.log.debug(`The end of ${partitionName(partition)}: ${text(error)}`);
        this.topology.refreshSoon();
        await sleep(this.clock, RETRY, signal);
      }
    }
    if (signal.aborted) {
      throw new ConnectionClosedError(`Reading ${partitionName(partition)} was ended before it began`);
    }
  }

  private async endOf(partition: TopicPartition): Promise<bigint> {
    const committedOnly = !this.options.readUncommitted;
    const [end] = await listOffsets(this.connections, this.topology, [partition], LATEST, committedOnly);
    return end!.offset;
  }

  private isWanted(wanted: Wanted): boolean {
    return !this.stopping.signal.aborted && this.wanted.get(partitionName(wanted.partition)) === wanted;
  }

  private follow(wanted: Wanted, startOffset: bigint): void {
    const { topic, partition } = wanted.partition;
    const topicId = (wanted.topicId = this.topology.topic(topic)?.topicId ?? NO_TOPIC_ID);
    this.history.begin(wanted.partition, NO_EPOCH);
    this.fetcher.assign([{ topic, partition, topicId, rebalanceId: 0, startOffset }]);
    this.fetcher.start();
  }

  /** After each refresh of the metadata. What was made anew begins again: all of it came later. */
  private followRenewed(): void {
    for (const wanted of this.wanted.values()) {
      if (wanted.topicId === undefined || !this.topology.has(wanted.partition)) continue;
      if (this.topology.topic(wanted.partition.topic)?.topicId === wanted.topicId) continue;
      this.fetcher.drop(wanted.partition);
      this.follow(wanted, 0n);
    }
    this.fetcher.wake();
  }

  private async tearDown(): Promise<void> {
    this.stopping.abort();
    this.wanted.clear();
    this.topology.stop();
    this.fetcher.clear();
    await this.connections.disconnect();
  }
}
