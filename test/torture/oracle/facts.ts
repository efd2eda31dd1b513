import type { Mode, Ordering } from '../options.js';
import type { LogLine } from '../service/service-settings.js';
import type { HandlerName, TortureTopics, Work } from '../work.js';

/** A record of a topic, as an independent consumer read it in the end. */
export interface TopicRecord {
  readonly topic: string;
  readonly partition: number;
  readonly offset: bigint;
  readonly key: string | null;
  readonly value: string | null;
  /** As text; the last of a name. */
  readonly headers: Readonly<Record<string, string>>;
  /** What the value says, if it is ours. */
  readonly work: Work | undefined;
  /** The work's id, or the position. */
  readonly id: string;
}

/** A row that a handler wrote in its transaction. In the order of the commits. */
export interface Effect {
  readonly handler: HandlerName;
  readonly id: string;
  readonly run: string;
  /** What the handler was told for its idempotency key. */
  readonly key: string;
  /** What the handler was told for its record's key. */
  readonly recordKey: string | null;
  readonly instance: string;
  readonly topic: string;
  readonly wave: number;
  readonly partition: number;
  readonly offset: bigint;
  /** By the clock of the database, ms. */
  readonly committedAt: number;
}

/** How an execution ended, by the ledger's view. */
export interface LedgerRow {
  readonly handler: string;
  readonly key: string;
  readonly state: 'completed' | 'failed' | 'dead' | 'skipped';
  readonly attempts: number;
  readonly partition: number;
  readonly offset: bigint;
  readonly finishedAt: number;
}

export interface DeadLetter {
  readonly handler: string;
  readonly reason: string;
  readonly topic: string;
  readonly partition: number;
  readonly offset: bigint;
  readonly value: string | null;
  readonly diedAt: number;
}

/** Where a handler stands in a partition at the end, by the ledger's view. */
export interface Fence {
  readonly handler: string;
  readonly topic: string;
  readonly partition: number;
  readonly nextOffset: bigint;
  readonly epoch: bigint;
  readonly owner: string;
  readonly takenAt: number;
}

/** An offset that the coordinator stored for the group. */
export interface OffsetCommit {
  readonly topic: string;
  readonly partition: number;
  readonly offset: bigint;
  readonly generation: number;
  readonly at: number;
}

/** Who had which partitions, by the coordinator. In their order. */
export interface Generation {
  readonly generation: number;
  /** When the coordinator stored it, ms. */
  readonly at: number;
  /** Client id (the name of an instance) → `topic/partition`. */
  readonly owned: ReadonlyMap<string, ReadonlySet<string>>;
}

/** How a request that a process made through the library's client ended. */
export interface Settlement {
  readonly instance: string;
  readonly id: string;
  readonly value?: unknown;
  readonly error?: string | undefined;
}

export interface Call {
  readonly instance: string;
  readonly id: string;
  readonly tail: boolean;
}

/** What was seen of a process at one moment, or of a transaction. */
export interface Sample {
  readonly what: 'memory' | 'connections' | 'transaction';
  readonly who: string;
  /** Bytes, count, ms. */
  readonly value: number;
}

export interface InstanceFacts {
  readonly name: string;
  readonly running: boolean;
  /** A fault may have kept its counters from what happened. */
  readonly disturbed: boolean;
  readonly counters: Readonly<Record<string, number>> | undefined;
}

/** Everything that the invariants are judged by. */
export interface Facts {
  readonly topics: TortureTopics;
  readonly mode: Mode;
  readonly ordering: Ordering;
  readonly parking: boolean;
  /** Bounds that a process has to keep. */
  readonly limits: {
    readonly connections: number;
    readonly running: number;
    readonly memory: number;
    readonly transaction: number;
  };
  /** Of the volatile topic; only what its last wave holds can be asked for. */
  readonly lastWave: number;
  readonly records: readonly TopicRecord[];
  readonly out: readonly TopicRecord[];
  readonly replies: readonly TopicRecord[];
  readonly effects: readonly Effect[];
  readonly executions: readonly LedgerRow[];
  readonly fences: readonly Fence[];
  readonly deadLetters: readonly DeadLetter[];
  readonly commits: readonly OffsetCommit[];
  readonly generations: readonly Generation[];
  readonly log: readonly (LogLine & { readonly instance: string })[];
  readonly calls: readonly Call[];
  readonly settlements: readonly Settlement[];
  readonly samples: readonly Sample[];
  readonly instances: readonly InstanceFacts[];
  /** How the run came to its end. */
  readonly end: {
    readonly lag: number;
    /** What was to be seen when nothing moved any more, for people; many lines. */
    readonly stuck: string | undefined;
    readonly unplannedEnds: number;
  };
}

export type InvariantName = 'I1' | 'I2' | 'I3' | 'I4' | 'I5' | 'I6' | 'I7' | 'I8' | 'I9' | 'I10';

export interface Violation {
  readonly invariant: InvariantName;
  /** One sentence. */
  readonly what: string;
  /** The message it is about, if it is about one. */
  readonly id?: string | undefined;
}
