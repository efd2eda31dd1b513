import type { AssignedPartition, ConsumerListener, DriverReadOptions } from '../../driver/driver.js';
import { partitionName, type PartitionOffset, type TopicPartition } from '../../messages/record.js';
import { deferred, type Deferred } from '../../runtime/deferred.js';
import type { Connection } from './connection.js';
import { type FetchAnswer, type FetchLimits, fetchWait, type FetchWait } from './fetch-wait.js';
import type { TopicStore } from './topic-store.js';

interface Position {
  readonly assigned: AssignedPartition;
  offset: bigint;
  /** Of the log that the offset counts in, once that is known. */
  epoch: number | undefined;
  paused: boolean;
  /** The topic is gone: nothing to fetch until the next assignment. */
  gone: boolean;
  /** Grows with every pause and seek: an answer to an older question is dropped. */
  question: number;
}

interface Question {
  readonly position: Position;
  readonly number: number;
}

export interface ReaderEvents extends Pick<ConsumerListener, 'onRecords' | 'onOffsetOutOfRange'> {
  onPassed?(partition: AssignedPartition, nextOffset: bigint): void;
  onUnknownTopic(): void;
  onError(error: unknown): void;
}

/** Reads the partitions of one assignment, from `start` to `halt`. */
export class PartitionReader {
  readonly #positions = new Map<string, Position>();
  readonly #limits: FetchLimits;
  #halted = false;
  #wait: FetchWait | undefined;
  #hurry = false;
  #idle: Deferred<void> | undefined;
  #turn = 0;

  constructor(
    readonly partitions: readonly AssignedPartition[],
    private readonly connection: Connection,
    private readonly topics: TopicStore,
    options: DriverReadOptions,
    private readonly events: ReaderEvents,
    /** Of the logs that start offsets count in, where they were committed. */
    epochOf: (partition: TopicPartition) => number | undefined = () => undefined,
  ) {
    for (const assigned of partitions) {
      this.#positions.set(partitionName(assigned), {
        ...{ assigned, offset: assigned.startOffset, epoch: epochOf(assigned) },
        ...{ paused: false, gone: false, question: 0 },
      });
    }
    this.#limits = {
      maxWaitTime: options.maxWaitTime ?? 5000,
      minBytes: options.minBytes ?? 1,
      maxBytes: options.maxBytes ?? 10_485_760,
      maxBytesPerPartition: options.maxBytesPerPartition ?? 1_048_576,
    };
  }

  holds(partition: TopicPartition): boolean {
    return this.#positions.has(partitionName(partition));
  }

  /** Of the log that a partition is read from, as far as it is known. */
  epochOf(partition: TopicPartition): number | undefined {
    return this.#positions.get(partitionName(partition))?.epoch;
  }

  get paused(): TopicPartition[] {
    return [...this.#positions.values()]
      .filter(({ paused }) => paused)
      .map(({ assigned: { topic, partition } }) => ({ topic, partition }));
  }

  start(): void {
    void this.#read();
  }

  halt(): void {
    this.#halted = true;
    this.#wake();
  }

  /** Partitions of others are left alone, here and in the next two. */
  pause(partitions: readonly TopicPartition[]): void {
    for (const position of this.#those(partitions)) {
      position.paused = true;
      position.question++;
    }
  }

  resume(partitions: readonly TopicPartition[]): void {
    for (const position of this.#those(partitions)) position.paused = false;
    this.#wake();
  }

  seek(target: PartitionOffset): void {
    for (const position of this.#those([target])) {
      position.offset = target.offset;
      position.question++;
    }
    this.#wake();
  }

  #those(partitions: readonly TopicPartition[]): Position[] {
    return partitions
      .map((each) => this.#positions.get(partitionName(each)))
      .filter((each) => each !== undefined);
  }

  async #read(): Promise<void> {
    while (!this.#halted) {
      const questions = this.#questions();
      if (questions.length === 0) {
        this.#idle = deferred();
        await this.#idle.promise;
        continue;
      }
      const answers = await this.connection.request('a fetch', () => this.#fetch(questions), 0);
      this.#wait = undefined;
      this.#hurry = false;
      questions.forEach((question, index) => this.#take(question, answers[index]!));
    }
  }

  /** Begins with another partition each time, so that a full answer starves none. */
  #questions(): Question[] {
    const readable = [...this.#positions.values()].filter(({ paused, gone }) => !paused && !gone);
    const first = readable.length === 0 ? 0 : this.#turn++ % readable.length;
    return [...readable.slice(first), ...readable.slice(0, first)].map((position) => ({
      position,
      number: position.question,
    }));
  }

  #fetch(questions: readonly Question[]): Promise<readonly FetchAnswer[]> {
    const positions = questions.map(({ position: { assigned, offset, epoch } }) => ({
      topic: assigned.topic,
      topicId: assigned.topicId,
      partition: assigned.partition,
      offset,
      epoch,
    }));
    this.#wait = fetchWait(this.connection.broker, this.topics, positions, this.#limits);
    if (this.#hurry) this.#wait.finish();
    return this.#wait.answers;
  }

  #take({ position, number }: Question, answer: FetchAnswer): void {
    if (this.#halted || position.paused || position.question !== number) return;
    try {
      if (answer.kind !== 'unknown-topic') position.epoch = answer.epoch;
      if (answer.kind === 'records') this.#handOver(position, answer.records);
      else if (answer.kind === 'out-of-range') this.#reset(position, answer.resumeAt);
      else {
        position.gone = true;
        this.events.onUnknownTopic();
      }
    } catch (error) {
      this.halt();
      this.events.onError(error);
    }
  }

  #handOver(position: Position, records: Extract<FetchAnswer, { kind: 'records' }>['records']): void {
    const last = records.at(-1);
    if (!last) return;
    position.offset = last.offset + 1n;
    this.events.onRecords(position.assigned, records);
    if (!this.#halted) this.events.onPassed?.(position.assigned, position.offset);
  }

  #reset(position: Position, resumeAt: bigint): void {
    const wanted = position.offset;
    position.offset = resumeAt;
    this.events.onOffsetOutOfRange(position.assigned, wanted, position.offset);
  }

  /** Has the fetch under way answered at once, so that the next one asks what is to be known now. */
  #wake(): void {
    this.#hurry = true;
    this.#wait?.finish();
    this.#idle?.resolve();
    this.#idle = undefined;
  }
}
