import type { RecordHeader } from '../messages/record.js';
import type { Fence, Lane, Scope } from './ledger-terms.js';

/** Where a parked record is: in a sequence of its lane, in the order of offsets. */
export interface LetterPlace {
  /** See `messages/parked-sequence.ts`. */
  readonly sequence: Buffer;
  readonly offset: bigint;
}

/** A parked record with all its bytes. */
export interface LetterToStore extends LetterPlace {
  /** Milliseconds since the epoch. */
  readonly timestamp: number;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: readonly RecordHeader[];
}

export interface ParkedSequence {
  readonly sequence: Buffer;
  readonly letters: number;
}

/** What a transaction does with the letters of one lane, all or nothing with everything else of it. */
export interface ParkingWork {
  readonly fence: Fence;
  /** Behind the others of their sequences; those that are there already are passed over. */
  readonly appended: readonly LetterToStore[];
  /** They have ended. Those that are gone already are passed over. A sequence without letters is one no more. */
  readonly removed: readonly LetterPlace[];
}

/** Class and message of what a handler threw; bounded by the caller. */
export interface ParkingError {
  readonly name: string;
  readonly message: string;
}

/** A record that has failed for good, at the head of a new sequence. */
export interface NewSequence {
  readonly fence: Fence;
  /** The fence stays where it is; else it moves past the record. */
  readonly isShared: boolean;
  readonly letter: LetterToStore;
  readonly failures: number;
  /** Milliseconds since the first of them. */
  readonly age: number;
  readonly error: ParkingError;
  /** Milliseconds until the first try. */
  readonly retryAfter: number;
  /** Sequences of the scope, with this one. */
  readonly maxSequences: number;
}

/** The head of a sequence failed again. */
export interface Postponement extends LetterPlace {
  /** Tries before this one: a postponement that does not know of them all is passed over. */
  readonly retries: number;
  readonly failures: number;
  readonly error: ParkingError;
  /** Milliseconds until the next try; `null`: it is held for an operator. */
  readonly retryAfter: number | null;
}

/** How a letter is to end without its handler. */
export interface LetterOrder {
  readonly state: 'skipped' | 'dead';
  readonly reason: string;
}

/** The head of a sequence whose time has come. */
export interface DueHead extends LetterToStore {
  readonly lane: Lane;
  readonly failures: number;
  readonly retries: number;
  /** Milliseconds since its first failure, if it has failed. */
  readonly age: number | undefined;
  readonly order: LetterOrder | undefined;
}

export interface DueHeads {
  readonly heads: readonly DueHead[];
  readonly sequences: number;
  /** Milliseconds until another head is due; `undefined` if none is waiting. */
  readonly next: number | undefined;
}

/** Which sequences; what is absent says nothing. */
export interface ParkedFilter extends Partial<Scope> {
  readonly id?: string | undefined;
  readonly topic?: string | undefined;
}

/** A sequence as operators see it. Times are milliseconds since the epoch. */
export interface ParkedHead {
  readonly id: string;
  readonly scope: Scope;
  readonly topic: string;
  readonly topicId: string;
  readonly partition: number;
  /** Of the head. */
  readonly offset: bigint;
  readonly recordKey: Buffer | null;
  readonly letters: number;
  readonly failures: number;
  readonly retries: number;
  readonly state: 'waiting' | 'held';
  /** `undefined` while it is held. */
  readonly nextRetry: number | undefined;
  readonly parkedAt: number;
  readonly error: ParkingError | undefined;
}

/**
 * The port to parked records. Only the owner of a lane adds and removes letters, in its transactions
 * (`GroupWork.parking`, `Completion.parking`, `Conclusion.letter`, `park`); anybody may say when a head is tried next.
 */
export interface LedgerParking {
  /**
   * Parks a record in a transaction of its own: a sequence is made, with the record at its head. Does nothing if it is
   * there already.
   * @throws FencedError; ParkingFullError if there are `maxSequences`.
   */
  park(sequence: NewSequence): Promise<void>;
  /** Which of these partitions have sequences in this group, by name: also of earlier topics of the name. */
  partitionsOf<P extends { readonly topic: string; readonly partition: number }>(
    group: string,
    partitions: readonly P[],
  ): Promise<P[]>;
  /** The due heads of a group's partition, longest due first; by the store's clock. */
  due(group: string, topic: string, partition: number, limit: number): Promise<DueHeads>;
  postpone(lane: Lane, postponement: Postponement): Promise<void>;
  /** Whether a letter is there. To the owner of the lane: until a transaction of its own removes it. */
  holds(lane: Lane, place: LetterPlace): Promise<boolean>;
  /** By id. */
  list(filter: ParkedFilter, limit: number, after: string | undefined): Promise<ParkedHead[]>;
  /** Has heads tried at once, and as often as new ones. Resolves with their number. */
  retry(filter: ParkedFilter): Promise<number>;
  /** Has the head of a sequence, or all letters that it has now, end in a certain way. Resolves with `false` if it is gone. */
  order(id: string, order: LetterOrder, all: boolean): Promise<boolean>;
}
