import type { Sql } from './sql.js';

/** What the two services do differently: how a handler reaches the database and publishes an event. */
export abstract class Work {
  /** Runs statements that take effect together or not at all. */
  abstract transaction(statements: (sql: Sql) => Promise<void>): Promise<void>;
  /** Runs statements that only read. */
  abstract read<Value>(statements: (sql: Sql) => Promise<Value>): Promise<Value>;
  abstract emit(topic: string, event: { key: string; value: object }): Promise<void>;
}
