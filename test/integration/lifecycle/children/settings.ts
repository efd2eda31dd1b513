export interface LifecycleSettings {
  readonly brokers: string[];
  readonly databaseUrl: string;
  readonly schema: string;
  readonly group: string;
  readonly topics: Record<'durable' | 'plain' | 'requests', string>;
  readonly handlerMillis: number;
  readonly shutdownTimeout: number;
}

export const SETTINGS_VARIABLE = 'LIFECYCLE_SETTINGS';

export interface DrainSettings {
  readonly brokers: string[];
  readonly group: string;
  readonly topic: string;
  /** Handlers are slow until so many are done. */
  readonly slow: number;
  readonly total: number;
}
