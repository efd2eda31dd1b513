import type { FailPoint } from '../../crash/children/service-settings.js';
import type { Mode, Ordering } from '../options.js';
import type { TortureTopics, Work } from '../work.js';

/** What the supervisor tells a process that it starts. Travels as JSON in the environment. */
export interface ServiceSettings {
  readonly instance: string;
  /** URL of the `index.js` of the build under test. */
  readonly library: string;
  readonly brokers: readonly string[];
  /** Port of a broker → port of the proxy to take instead. */
  readonly brokerProxies: Readonly<Record<string, number>>;
  readonly databaseUrl: string;
  readonly ledgerSchema: string;
  readonly groupId: string;
  readonly callerGroupId: string;
  readonly topics: TortureTopics;
  readonly mode: Mode;
  readonly ordering: Ordering;
  readonly concurrent: boolean;
  readonly sessionTimeout: number;
  readonly concurrency: number;
  readonly poolSize: number;
  readonly groupRecords: number;
  /** Runs that may fail before a record is dead. */
  readonly attempts: number;
  /** Events that fail for good are parked. */
  readonly parking: boolean;
  /** A file: once it is there, those that are sick are well. */
  readonly mended: string;
  /** How wrong its wall clock is, ms. */
  readonly clockSkew: number;
  /** Where runs of handlers are written, as they happen. */
  readonly executionLog: string;
}

export const SETTINGS_VARIABLE = 'TORTURE_SETTINGS';

/** From the supervisor. */
export type Order =
  | { readonly order: 'arm'; readonly point: FailPoint | undefined }
  | { readonly order: 'block'; readonly millis: number }
  /** Leaves and joins again, once for each pause. */
  | { readonly order: 'churn'; readonly pauses: readonly number[] }
  | { readonly order: 'request'; readonly work: Work; readonly idempotencyKey: string }
  | { readonly order: 'report' };

/** To the supervisor, a line each, besides the names of fail points. */
export type Told =
  | { readonly told: 'joined' }
  | { readonly told: 'left' }
  | { readonly told: 'churned' }
  | { readonly told: 'settled'; readonly id: string; readonly value?: unknown; readonly error?: string }
  | {
      readonly told: 'report';
      readonly counters: Readonly<Record<string, number>>;
      readonly waitsFor: string;
    };

/** A line of the execution log. */
export interface LogLine {
  /** Real time, whatever the clock of the process says, ms. */
  readonly at: number;
  readonly what: 'start' | 'end' | 'fail';
  readonly handler: string;
  readonly run: string;
  readonly id: string;
  readonly key: string;
  readonly attempt: number;
  readonly topic: string;
  readonly partition: number;
  readonly offset: string;
}
