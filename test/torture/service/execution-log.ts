import { openSync, writeSync } from 'node:fs';
import type { LogLine } from './service-settings.js';

/**
 * What handlers did, apart from any transaction: a file that each line reaches before the handler goes on, so that
 * neither a SIGKILL nor an outage of the database takes one away.
 */
export class ExecutionLog {
  private readonly file: number;

  constructor(path: string) {
    this.file = openSync(path, 'a');
  }

  write(line: Omit<LogLine, 'at'>): void {
    // Not the wall clock, which a fault may have changed.
    const at = performance.timeOrigin + performance.now();
    writeSync(this.file, `${JSON.stringify({ at, ...line })}\n`);
  }
}
