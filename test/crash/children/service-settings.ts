/** What a test tells the service that it is going to disturb. Travels as JSON in the environment. */
export interface ServiceSettings {
  /** Written beside each effect. */
  readonly instance: string;
  readonly brokers: readonly string[];
  readonly databaseUrl: string;
  readonly groupId: string;
  readonly topics: ServiceTopics;
  /** Schema of the library's tables. */
  readonly ledgerSchema: string;
  /** Schema of the table `effect`. */
  readonly effectSchema: string;
  readonly sessionTimeout: number;
  readonly maxRecords: number;
  /** Runs that may fail before a record is dead. */
  readonly attempts: number;
  /** How long a handler takes, ms. */
  readonly handlerMillis: number;
  readonly failPoint?: FailPoint | undefined;
  /** Default `transaction`. */
  readonly mode?: 'transaction' | 'claim' | undefined;
  /** In claim mode: no step but that of the effect, so that whatever fails is a part of the library. */
  readonly withoutCalls?: boolean | undefined;
  /** Partitions worked on at once. Default 4. */
  readonly concurrency?: number | undefined;
  /** Default `partition`. Under `key`, the keys of a group run at once. */
  readonly ordering?: 'partition' | 'key' | undefined;
  /** What follows the last attempt: a dead letter, unless it is to be parked. */
  readonly onExhausted?: 'park' | undefined;
  /** What fails elsewhere does not fail here. */
  readonly healed?: boolean | undefined;
  /** Of claims, ms. */
  readonly lease?: number | undefined;
}

export interface ServiceTopics {
  readonly events: string;
  readonly requests: string;
  /** Where the handler of events emits to. */
  readonly out: string;
}

/** A crash window of `architecture.md`, by what happens next to it. `in-transaction`: of a step, in claim mode. */
export type WorkWindow =
  | 'before-claim'
  | 'after-claim'
  | 'in-transaction'
  | 'in-handler'
  | 'after-commit'
  | 'after-ack'
  | 'before-offset-commit';

/** On the way of a record that fails for good, and on its way back. */
export type FailureWindow =
  | 'after-failure'
  | 'before-ending'
  | 'after-ending'
  | 'after-letter'
  | 'before-redrive'
  | 'after-redrive'
  | 'before-parking'
  | 'after-parking'
  | 'after-postponing';

/** `before-work`: before the first claim of a group, when nothing of it is locked yet. */
export type Place = WorkWindow | FailureWindow | 'before-work';

export interface FailPoint {
  readonly place: Place;
  readonly on: 'events' | 'requests';
  /** The how manieth time it comes by there; 1 is the first. */
  readonly nth: number;
  /** `kill` and `stop` are SIGKILL and SIGSTOP at that very instruction; `pause` waits for the message `continue`. */
  readonly action: 'kill' | 'stop' | 'pause';
}

/** Value of a record of the topics `events` and `requests`. */
export interface Work {
  /** Two records with one id are one message: the effect is counted by it. */
  readonly id: string;
  /** Runs in the handler's transaction, after the effect. */
  readonly sql?: string | undefined;
  /** Fails for good, unless the service is `healed`. */
  readonly isPoison?: boolean | undefined;
  /** Instead of `handlerMillis`. */
  readonly millis?: number | undefined;
}

export const SETTINGS_VARIABLE = 'CRASH_TEST_SETTINGS';
