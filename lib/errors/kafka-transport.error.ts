/**
 * Every code an error of this library can carry. Closed: a new failure gets a new code here, and nothing else in
 * the library invents one.
 */
export const ERROR_CODES = [
  'KT_OPTION_INVALID',
  'KT_WRONG_CALL_ORDER',
  'KT_UNSUPPORTED',
  'KT_PATTERN_INVALID',
  'KT_BROKER_UNREACHABLE',
  'KT_TOPIC_MISSING',
  'KT_PRODUCE_FAILED',
  'KT_RECORD_INVALID',
  'KT_STALE_MEMBER',
  'KT_CODEC_MISSING',
  'KT_REPLY_TIMEOUT',
  'KT_REPLY_PARTITION_MISSING',
  'KT_CLOSED',
  'KT_HANDLER_TIMEOUT',
  'KT_FENCED',
  'KT_KEY_INVALID',
  'KT_KEY_REUSED',
  'KT_LEDGER_UNREACHABLE',
  'KT_LEDGER_SCHEMA',
  'KT_COMMIT_UNKNOWN',
  'KT_TRANSACTION_ABORTED',
  'KT_NOT_DURABLE',
  'KT_OUTSIDE_HANDLER',
  'KT_NO_TRANSACTION',
  'KT_IN_WORK',
  'KT_LEASE_LOST',
  'KT_STEP_ORDER',
  'KT_STEP_RESULT',
  'KT_STEP_TIMEOUT',
  'KT_PARKING_FULL',
] as const;

export type ErrorCode = (typeof ERROR_CODES)[number];

export interface KafkaTransportErrorFacts {
  /** What made this error; kept as `cause`. */
  cause?: unknown;
  /** `true` if the same call may succeed later without anybody changing anything. Default `false`. */
  retryable?: boolean;
}

/**
 * Base of everything this library throws. `code` is stable and fit for programs, `message` says what happened, to
 * whom and what to do about it, and never holds payloads or credentials.
 */
export class KafkaTransportError extends Error {
  readonly code: ErrorCode;
  readonly retryable: boolean;

  constructor(code: ErrorCode, message: string, facts: KafkaTransportErrorFacts = {}) {
    super(message, facts.cause === undefined ? undefined : { cause: facts.cause });
    this.name = new.target.name;
    this.code = code;
    this.retryable = facts.retryable ?? false;
  }
}
