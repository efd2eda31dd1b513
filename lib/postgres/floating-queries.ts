import { WrongCallOrderError } from '../errors/errors.js';
import type { Log } from '../runtime/log.js';
import { endedMessage, refuse } from './transaction-client.js';

/**
 * Queries that come after the end of the run that they belong to. Whoever sent one most likely does not wait for it, and a
 * rejected promise that nobody handles ends the process: one careless handler would take the service down with each of
 * its messages. So the promise counts as handled (who awaits it gets the error all the same), and the log tells, once for
 * each handler.
 */
export class FloatingQueries {
  private readonly told = new Set<string>();

  /** @param whose names the run that the calling code belongs to. */
  constructor(
    private readonly log: Log,
    private readonly whose: () => string | undefined,
  ) {}

  /** Answers in the form that `pg`'s `query` was called in. */
  readonly refuse = (args: readonly unknown[]): unknown => {
    const whose = this.whose() ?? 'Code outside of any handler';
    if (!this.told.has(whose)) {
      this.told.add(whose);
      this.log.error(`${whose}: ${endedMessage} What it wrote is not stored. Said once for each handler.`);
    }
    const answer = refuse(args, new WrongCallOrderError(endedMessage));
    if (answer instanceof Promise) answer.catch(() => undefined);
    return answer;
  };
}
