import { DEFAULT_RETRY, type RetryPolicy } from '../consumption/retry-policy.js';
import { InvalidOptionError } from '../errors/errors.js';
import { flag, numberAtLeast, onlyKnown, wholeNumber } from './option-checks.js';

/**
 * A whole policy out of the parts that are given.
 * @param option its name in messages.
 * @throws InvalidOptionError
 */
export function resolveRetry(option: string, given: Partial<RetryPolicy>): RetryPolicy {
  onlyKnown(option, given, Object.keys(DEFAULT_RETRY));
  const retry = { ...DEFAULT_RETRY, ...given };
  wholeNumber(`${option}.attempts`, retry.attempts, 1);
  numberAtLeast(`${option}.initial`, retry.initial, 0);
  numberAtLeast(`${option}.factor`, retry.factor, 1);
  numberAtLeast(`${option}.max`, retry.max, 0);
  flag(`${option}.jitter`, retry.jitter);
  numberAtLeast(`${option}.deadline`, retry.deadline, 1);
  if (retry.initial > retry.max) {
    throw new InvalidOptionError(
      `${option}.initial`,
      `is ${retry.initial}; it must not be above ${option}.max (${retry.max})`,
    );
  }
  return retry;
}
