import { DEFAULT_RETRY, type RetryPolicy } from '../consumption/retry-policy.js';
import { numberAtLeast, onlyKnown, wholeNumber } from '../transport/option-checks.js';

/** How a step is run. Times are milliseconds. */
export interface StepOptions {
  /**
   * Runs the step again when it fails, before the failure reaches the handler. Without it a step is tried once; what is
   * left out is as in the transport's option `retry`. A `KafkaTerminalException` is not tried again.
   */
  retry?: Partial<RetryPolicy>;
  /** A try that takes longer has failed with `StepTimeoutError`, and its signal aborts. Default: none. */
  timeout?: number;
}

export interface ResolvedStepOptions {
  readonly retry: RetryPolicy;
  readonly timeout: number | undefined;
}

const ONCE: RetryPolicy = { ...DEFAULT_RETRY, attempts: 1 };
const RETRY_OPTIONS = Object.keys(DEFAULT_RETRY);

/** @throws InvalidOptionError */
export function resolveStepOptions(options: StepOptions): ResolvedStepOptions {
  onlyKnown('step', options, ['retry', 'timeout']);
  const { retry, timeout } = options;
  if (timeout !== undefined) wholeNumber('timeout', timeout, 1);
  if (retry === undefined) return { retry: ONCE, timeout };
  onlyKnown('retry', retry, RETRY_OPTIONS);
  const policy = { ...DEFAULT_RETRY, ...retry };
  wholeNumber('retry.attempts', policy.attempts, 1);
  wholeNumber('retry.initial', policy.initial, 0);
  wholeNumber('retry.max', policy.max, 0);
  numberAtLeast('retry.factor', policy.factor, 1);
  return { retry: policy, timeout };
}
