import type { LogEntry, logCreator } from 'kafkajs';
import type { Log } from '../../runtime/log.js';

/** kafkajs' levels: numbers, since its enum is not reachable without importing its runtime. */
const ERROR = 1;
const WARN = 2;
const INFO = 4;

/**
 * Hands kafkajs' lines to our log. Only the message and the broker's address: `extra` can hold anything. What a
 * connection reports is one step lower than kafkajs ranks it, since the caller gets the same as an error and decides.
 */
export function logCreatorFor(log: Log): logCreator {
  return () =>
    ({ level, namespace, log: { message, ...extra } }: LogEntry) => {
      const where = typeof extra['broker'] === 'string' ? ` (${extra['broker']})` : '';
      const line = `[kafkajs ${namespace}] ${message}${where}`;
      const quieter = namespace === 'Connection' || namespace === 'BrokerPool';
      if (level === ERROR && !quieter) log.error(line);
      else if (level === ERROR || level === WARN) log.warn(line);
      else if (level === INFO) log.log(line);
      else log.debug(line);
    };
}
