import type { AssignedPartition, DriverReader, KafkaDriver, ReaderListener } from '../driver/driver.js';
import { BrokerUnreachableError, TopicMissingError } from '../errors/errors.js';
import { partitionName, type KafkaRecord, type TopicPartition } from '../messages/record.js';
import { settlesWithin, type Clock } from '../runtime/clock.js';
import { deferred, type Deferred } from '../runtime/deferred.js';
import { unlessAborted } from '../runtime/unless-aborted.js';

/** Milliseconds without any answer after which a partition is given up. */
const PATIENCE = 30_000;
/** Above so many records that wait for whoever reads them, nothing more is fetched. */
const MAX_WAITING = 1_000;

/**
 * The records that a topic holds as of now, partition after partition, in offset order: what is produced meanwhile is
 * left out. Never holds more than a few fetches of it. Ends early when `signal` aborts.
 *
 * @throws TopicMissingError, BrokerUnreachableError
 */
export async function* scanTopic(
  driver: KafkaDriver,
  topic: string,
  clock: Clock,
  signal: AbortSignal,
): AsyncGenerator<readonly KafkaRecord[]> {
  const admin = driver.createAdmin();
  const reader = driver.createReader({ topics: [topic], maxWaitTime: 500 });
  try {
    await admin.connect();
    const [described] = await admin.describeTopics([topic]);
    if (!described) throw new TopicMissingError(`There is no topic "${topic}" to read`);
    const scan = new TopicScan(reader, clock, signal);
    await reader.start(scan);
    for (const { partition, low, high } of await admin.watermarks(topic)) {
      yield* scan.records({ topic, partition }, low, high);
    }
  } finally {
    await reader.stop();
    await admin.disconnect();
  }
}

class TopicScan implements ReaderListener {
  private waiting: KafkaRecord[] = [];
  private next = 0n;
  private end = 0n;
  private isReading = false;
  private news: Deferred<void> = deferred();

  constructor(
    private readonly reader: DriverReader,
    private readonly clock: Clock,
    private readonly signal: AbortSignal,
  ) {}

  async *records(
    partition: TopicPartition,
    low: bigint,
    high: bigint,
  ): AsyncGenerator<readonly KafkaRecord[]> {
    this.next = low;
    this.end = high;
    this.isReading = false;
    while (!this.signal.aborted) {
      const records = this.waiting.filter(({ offset }) => offset < high);
      this.waiting = [];
      if (records.length > 0) yield records;
      else if (this.next >= high) return;
      else await this.more(partition);
    }
  }

  onRecords(_partition: AssignedPartition, records: readonly KafkaRecord[]): void {
    this.waiting.push(...records);
  }

  onPassed(partition: AssignedPartition, nextOffset: bigint): void {
    this.next = nextOffset;
    if (this.next >= this.end || this.waiting.length >= MAX_WAITING) {
      this.reader.drop(partition);
      this.isReading = false;
    }
    this.news.resolve();
  }

  /** Retention was faster: what is gone is not missed. */
  onOffsetOutOfRange(partition: AssignedPartition, _wanted: bigint, resumeAt: bigint): void {
    this.onPassed(partition, resumeAt);
  }

  /** It is tried again; whoever waits has patience. */
  onStatus(): void {}

  private async more(partition: TopicPartition): Promise<void> {
    this.news = deferred();
    const answered = this.isReading ? this.news.promise : this.begin(partition);
    const inTime = await unlessAborted(settlesWithin(this.clock, answered, PATIENCE), this.signal);
    if (inTime === false) {
      throw new BrokerUnreachableError(
        `${partitionName(partition)} gave nothing for ${PATIENCE / 1000} s, from offset ${this.next} on`,
      );
    }
  }

  private async begin(partition: TopicPartition): Promise<void> {
    this.isReading = true;
    const { news } = this;
    await this.reader.read(partition, this.next);
    await news.promise;
  }
}
