import type { KafkaRecord, TopicPartition } from '../messages/record.js';
import type { Delivery } from './attempt.js';
import type { Letter } from './letter.js';

/** A parked record whose turn has come. */
export interface DueLetter {
  readonly letter: Letter;
  readonly record: KafkaRecord;
  /** Of the topic that it came from, which may have been made anew since. */
  readonly topicId: string;
  /** Failures of its handler so far. */
  readonly failures: number;
  /** Time of the first of them, milliseconds since the epoch. */
  readonly firstFailure: number | undefined;
}

export interface DueLetters {
  /** Heads of sequences, longest due first; never two of one sequence. */
  readonly letters: readonly DueLetter[];
  /** Milliseconds until there may be others; `undefined` if nothing is parked. */
  readonly next: number | undefined;
}

/** What a letter's failure comes to: it waits for its next try, or for an operator. */
export type Postponed = 'waiting' | 'held';

/**
 * Where parked records wait: kept by whatever the group's resources keep their work in. The engine asks what is due and
 * has it run by the handler that it failed in, like any other delivery; resources remove what is done in its own commit.
 */
export interface Parking {
  /** Which of these partitions have records of the group parked. */
  partitionsOf(group: string, partitions: readonly TopicPartition[]): Promise<readonly TopicPartition[]>;
  due(group: string, partition: TopicPartition, limit: number): Promise<DueLetters>;
  /** A letter's handler has failed again. */
  postpone(group: string, delivery: Delivery, error: unknown): Promise<Postponed>;
}
