import { DEFAULT_RETRY, type RetryPolicy } from '../consumption/retry-policy.js';
import { object, onlyKnown, wholeNumber } from '../transport/option-checks.js';
import { resolveRetry } from '../transport/resolve-retry.js';

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

/** @throws InvalidOptionError */
export function resolveStepOptions(options: StepOptions): ResolvedStepOptions {
  object('step', options);
  onlyKnown('step', options, ['retry', 'timeout']);
  const { retry, timeout } = options;
  if (timeout !== undefined) wholeNumber('step.timeout', timeout, 1);
  if (retry === undefined) return { retry: ONCE, timeout };
  object('step.retry', retry);
  return { retry: resolveRetry('step.retry', retry), timeout };
}
