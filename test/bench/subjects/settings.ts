/** Carries a subject's settings, as JSON. */
export const SETTINGS_VARIABLE = 'BENCH_SETTINGS';

/**
 * What handlers do: `insert` one row; `inbox` the same in a transaction of their own that first notes the message's id;
 * `empty` nothing; `echo` return the request; `echo-insert` insert one row and return the request.
 */
export type Work = 'insert' | 'inbox' | 'empty' | 'echo' | 'echo-insert';

/** What a process that is measured is told. */
export interface SubjectSettings {
  /** Tells instances of one subject apart in the table of effects. */
  readonly instance: string;
  readonly work: Work;
  readonly brokers: readonly string[];
  readonly databaseUrl: string;
  readonly topic: string;
  readonly groupId: string;
  /** Has the tables `effect`, `inbox` and `progress`. */
  readonly schema: string;
  /** For what the subject keeps in Postgres by itself. */
  readonly ownSchema: string;
  /** Handled records at which a mark is set: the end of the warm-up, and the end. */
  readonly marks: readonly [number, number];
  /** What this subject alone knows. */
  readonly options: Readonly<Record<string, unknown>>;
}

export type MarkName = 'warm' | 'end';

/** The process at one moment. */
export interface Mark {
  readonly mark: MarkName;
  /** Milliseconds of the wall clock. */
  readonly at: number;
  /** Microseconds that the process has used so far, on all its threads. */
  readonly cpu: number;
  /** Bytes resident. */
  readonly rss: number;
  /** SQL statements that it has sent so far. */
  readonly statements: number;
  /** Round trips that it has waited for so far, where they are counted. */
  readonly trips: number;
}

/** What a subject tells the benchmark. */
export type SubjectMessage = { readonly ready: true } | Mark | { readonly result: unknown };

export function readSettings<Settings = SubjectSettings>(): Settings {
  return JSON.parse(process.env[SETTINGS_VARIABLE]!) as Settings;
}

export function tell(message: SubjectMessage): void {
  process.send?.(message);
}
