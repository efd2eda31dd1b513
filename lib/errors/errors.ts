import { KafkaTransportError, type KafkaTransportErrorFacts } from './kafka-transport.error.js';

/** An option, or a combination of options, that cannot work. Thrown while starting, never later. */
export class InvalidOptionError extends KafkaTransportError {
  constructor(option: string, problem: string) {
    super('KT_OPTION_INVALID', `Option "${option}" ${problem}`);
  }
}

/** A method called before or after the time when it can work. */
export class WrongCallOrderError extends KafkaTransportError {
  constructor(message: string) {
    super('KT_WRONG_CALL_ORDER', message);
  }
}

/** A method of Nest's contract that means nothing for Kafka. */
export class UnsupportedError extends KafkaTransportError {
  constructor(message: string) {
    super('KT_UNSUPPORTED', message);
  }
}

/** A handler pattern that Kafka has no topic for. */
export class InvalidPatternError extends KafkaTransportError {
  constructor(message: string) {
    super('KT_PATTERN_INVALID', message);
  }
}

/** No broker answered, or the broker refused the connection (TLS, credentials). */
export class BrokerUnreachableError extends KafkaTransportError {
  constructor(message: string, facts: KafkaTransportErrorFacts = {}) {
    super('KT_BROKER_UNREACHABLE', message, { retryable: true, ...facts });
  }
}

/** A topic that is needed does not exist and is not to be created. */
export class TopicMissingError extends KafkaTransportError {
  constructor(message: string, facts: KafkaTransportErrorFacts = {}) {
    super('KT_TOPIC_MISSING', message, facts);
  }
}

/** The broker did not take a record. `retryable` tells whether it may take it later. */
export class ProduceError extends KafkaTransportError {
  constructor(message: string, facts: KafkaTransportErrorFacts = {}) {
    super('KT_PRODUCE_FAILED', message, facts);
  }
}

/** A record that no broker could take: a header that is neither text nor bytes, a value that can't be serialized. */
export class InvalidRecordError extends KafkaTransportError {
  constructor(message: string, facts: KafkaTransportErrorFacts = {}) {
    super('KT_RECORD_INVALID', message, facts);
  }
}

/** This member's generation is over: the group goes on without it, and what it tried to store was not stored. */
export class StaleMemberError extends KafkaTransportError {
  constructor(message: string, facts: KafkaTransportErrorFacts = {}) {
    super('KT_STALE_MEMBER', message, facts);
  }
}

/** A batch is compressed with a codec whose package is not installed. */
export class CodecMissingError extends KafkaTransportError {
  constructor(message: string) {
    super('KT_CODEC_MISSING', message);
  }
}

/** `send()` got no reply within `requestTimeout`. The request may still be handled. */
export class ReplyTimeoutError extends KafkaTransportError {
  /** @param reason what is known of why, and what to do. */
  constructor(topic: string, milliseconds: number, reason?: string) {
    super(
      'KT_REPLY_TIMEOUT',
      `No reply to "${topic}" within ${milliseconds} ms` +
        (reason === undefined
          ? `. Is a @MessagePattern('${topic}') server running? Raise the option "requestTimeout" if it needs longer.`
          : `: ${reason}`),
      { retryable: true },
    );
  }
}

/** There are more requesters in the group than the reply topic has partitions. */
export class ReplyPartitionMissingError extends KafkaTransportError {
  constructor(message: string) {
    super('KT_REPLY_PARTITION_MISSING', message);
  }
}

/** The connection was closed while the call was under way. */
export class ConnectionClosedError extends KafkaTransportError {
  constructor(message: string) {
    super('KT_CLOSED', message);
  }
}

/** A handler ran longer than `handlerTimeout`. */
export class HandlerTimeoutError extends KafkaTransportError {
  constructor(handler: string, milliseconds: number) {
    super(
      'KT_HANDLER_TIMEOUT',
      `Handler ${handler} did not finish within handlerTimeout (${milliseconds} ms)`,
      {
        retryable: true,
      },
    );
  }
}

/** Another process took this partition's epoch: nothing of this transaction was stored. */
export class FencedError extends KafkaTransportError {
  constructor(message: string) {
    super('KT_FENCED', message, { retryable: true });
  }
}

/** A record without a usable idempotency key. `reason` is what a dead letter's `dlt-reason` says. */
export class IdempotencyKeyError extends KafkaTransportError {
  constructor(
    readonly reason: 'no-key' | 'key-too-long',
    message: string,
  ) {
    super('KT_KEY_INVALID', message);
  }
}

/** One idempotency key arrived with two different contents. */
export class KeyReusedError extends KafkaTransportError {
  constructor(message: string) {
    super('KT_KEY_REUSED', message);
  }
}

/** Postgres cannot be reached or cannot work now. Never counted as an attempt. */
export class LedgerUnreachableError extends KafkaTransportError {
  constructor(message: string, facts: KafkaTransportErrorFacts = {}) {
    super('KT_LEDGER_UNREACHABLE', message, { retryable: true, ...facts });
  }
}

/** The ledger's schema is missing, older or newer than this version of the library. */
export class LedgerSchemaError extends KafkaTransportError {
  constructor(message: string, facts: KafkaTransportErrorFacts = {}) {
    super('KT_LEDGER_SCHEMA', message, facts);
  }
}

/** COMMIT was sent and its answer was lost: the ledger decides on redelivery. */
export class CommitUnknownError extends KafkaTransportError {
  constructor(facts: KafkaTransportErrorFacts = {}) {
    super('KT_COMMIT_UNKNOWN', 'The answer to COMMIT was lost; the ledger will tell whether it took effect', {
      retryable: true,
      ...facts,
    });
  }
}

/** A handler swallowed a database error: Postgres had aborted the transaction and rolled it back at COMMIT. */
export class TransactionAbortedError extends KafkaTransportError {
  constructor() {
    super(
      'KT_TRANSACTION_ABORTED',
      'A database error was caught inside a handler and the transaction was rolled back as a whole. Let the error out ' +
        'of the handler, or run the statement that may fail inside a savepoint.',
      { retryable: true },
    );
  }
}

/** Something would have run without durability although it was asked for. */
export class NotDurableError extends KafkaTransportError {
  constructor(message: string) {
    super('KT_NOT_DURABLE', message);
  }
}

/** `DurableExecution` was used where no durable handler is running. */
export class OutsideHandlerError extends KafkaTransportError {
  constructor(member: string) {
    super(
      'KT_OUTSIDE_HANDLER',
      `DurableExecution.${member} was used outside a durable handler's run. Use it inside a handler that ` +
        'DurableInterceptor is bound to, before the handler returns.',
    );
  }
}

/** A handler in claim mode asked for the message's transaction: there is none while it runs. */
export class NoTransactionError extends KafkaTransportError {
  constructor(member: string) {
    super(
      'KT_NO_TRANSACTION',
      `${member} was used where no transaction is open: in a handler in claim mode. Write in ` +
        'durable.transaction(name, fn), whose writes commit with the record that they happened.',
    );
  }
}

/** The execution is in work elsewhere, under a claim whose lease is not over: this one waits for how it ends. */
export class ExecutionInWorkError extends KafkaTransportError {
  constructor(message: string) {
    super('KT_IN_WORK', message, { retryable: true });
  }
}

/** Somebody else may have taken the execution over: the lease of its claim was not renewed in time. Nothing was stored. */
export class LeaseLostError extends KafkaTransportError {
  constructor(message: string, facts: KafkaTransportErrorFacts = {}) {
    super('KT_LEASE_LOST', message, { retryable: true, ...facts });
  }
}

/** A handler that runs again asked for another step than the one that is recorded at that place. */
export class NonDeterministicStepError extends KafkaTransportError {
  constructor(position: number, recorded: string, asked: string) {
    super(
      'KT_STEP_ORDER',
      `Step ${position + 1} of this execution is recorded as "${recorded}", and the handler asked for "${asked}" there. ` +
        'A handler must go through the same steps in the same order at every run: what it decides by (time, randomness, ' +
        'data that changes) belongs into a step, and handlers that change get a new name.',
    );
  }
}

/** What a step resolved with cannot be stored. The step has run, and would run again at every attempt. */
export class StepResultError extends KafkaTransportError {
  constructor(step: string, problem: string, facts: KafkaTransportErrorFacts = {}) {
    super(
      'KT_STEP_RESULT',
      `The result of step "${step}" ${problem}. Return plain data, and of big things what they can be found by.`,
      facts,
    );
  }
}

/** A step took longer than its `timeout`. */
export class StepTimeoutError extends KafkaTransportError {
  constructor(step: string, milliseconds: number) {
    super('KT_STEP_TIMEOUT', `Step "${step}" did not finish within its timeout (${milliseconds} ms)`, {
      retryable: true,
    });
  }
}
