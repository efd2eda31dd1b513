import type { LoggerService } from '@nestjs/common';
import type { Log } from '../../lib/runtime/log.js';

/** Keeps log lines instead of printing them; fits Nest and the engine. */
export class RecordingLogger implements LoggerService, Log {
  readonly lines: string[] = [];

  error(message: unknown): void {
    this.keep('error', message);
  }

  warn(message: unknown): void {
    this.keep('warn', message);
  }

  log(message: unknown): void {
    this.keep('log', message);
  }

  debug(message: unknown): void {
    this.keep('debug', message);
  }

  /** Lines that hold `text`, each behind its level. */
  matching(text: string): string[] {
    return this.lines.filter((line) => line.includes(text));
  }

  private keep(level: string, message: unknown): void {
    this.lines.push(
      `${level} ${message instanceof Error ? (message.stack ?? message.message) : String(message)}`,
    );
  }
}
