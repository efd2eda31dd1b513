import type { HandlerName, Mode, Ordering, PlannedParking, Topic } from './plan.js';

/** A record of the load, as somebody who only reads topics sees it. */
export interface LoadRecord {
  readonly topic: Topic;
  readonly partition: number;
  readonly offset: number;
  readonly n: number;
  readonly variant: number;
  /** What makes it the same as another: its key or, without one, its place. */
  readonly identity: string;
  /** Of requests. */
  readonly correlationId: string | undefined;
}

/** A row that a handler wrote through its transaction. In the order of the commits. */
export interface Effect {
  readonly handler: HandlerName;
  readonly n: number;
  readonly variant: number;
  readonly topic: Topic;
  readonly partition: number;
  readonly offset: number;
  /** Which run of the handler wrote it. */
  readonly run: number;
  /** Records that the run emitted. */
  readonly emits: number;
  /** They were committed by a step under a claim: produced in the end, and no offset waits for that. */
  readonly emitsInStep: boolean;
}

/** A record that a handler emitted, as it is in its topic. */
export interface Output {
  readonly handler: HandlerName;
  readonly run: number;
  /** Which of those that the run emitted. */
  readonly index: number;
  readonly messageId: string;
}

export interface Reply {
  readonly correlationId: string;
  /** All that the caller gets to see of it. */
  readonly content: string;
  /** Of the run that it is the reply of; `undefined` for an error. */
  readonly run: number | undefined;
}

/** A record given up on. */
export interface DeadLetter {
  readonly handler: HandlerName;
  readonly n: number;
  readonly variant: number;
  readonly offset: number;
  readonly partition: number;
  readonly reason: string;
}

/** How a request ended for its caller. */
export interface Settlement {
  readonly n: number;
  /** In the order of their coming. */
  readonly outcomes: readonly { readonly kind: 'reply' | 'error' | 'trouble'; readonly content: string }[];
}

export interface LaneState {
  readonly handler: HandlerName;
  readonly topic: Topic;
  readonly partition: number;
  readonly nextOffset: number;
  /** Of the partition: first offset without a record. */
  readonly end: number;
}

/** A record that was parked for a handler. */
export interface ParkedRecord {
  readonly handler: HandlerName;
  readonly topic: Topic;
  readonly partition: number;
  readonly offset: number;
}

/** How a record ended for a handler, by the ledger. */
export interface Ending extends ParkedRecord {
  readonly state: 'completed' | 'failed' | 'dead' | 'skipped';
}

/** An offset that the group committed. */
export interface OffsetCommit {
  readonly topic: Topic;
  readonly partition: number;
  readonly before: number;
  readonly offset: number;
  /** What is below it and not done, in words. */
  readonly unfinished: readonly string[];
}

/** A fence that a commit moved. */
export interface FenceMove {
  readonly lane: string;
  readonly epoch: bigint;
  readonly epochInForce: bigint;
}

/** What is left when a run is over, for the invariants to judge. */
export interface Evidence {
  /** What was asked for. */
  readonly asked: {
    readonly mode: Mode;
    readonly ordering: Ordering;
    readonly deadLetter: boolean;
    readonly parking: PlannedParking | undefined;
  };
  /** Steps under a claim that ran again although their results were stored, in words. */
  readonly repeatedSteps: readonly string[];
  readonly records: readonly LoadRecord[];
  readonly effects: readonly Effect[];
  readonly outputs: readonly Output[];
  readonly replies: readonly Reply[];
  /** In the ledger. */
  readonly dead: readonly DeadLetter[];
  /** In the dead-letter topic. */
  readonly letters: readonly DeadLetter[];
  readonly settlements: readonly Settlement[];
  readonly lanes: readonly LaneState[];
  /** Records that were parked at one time or another. */
  readonly parked: readonly ParkedRecord[];
  /** Those that still are. */
  readonly left: readonly ParkedRecord[];
  /** Those that an operator may have had end without their handler. */
  readonly ordered: readonly ParkedRecord[];
  readonly endings: readonly Ending[];
  readonly offsetCommits: readonly OffsetCommit[];
  readonly fenceMoves: readonly FenceMove[];
  /** What did not come to its end in time, in words. */
  readonly stuck: readonly string[];
}
