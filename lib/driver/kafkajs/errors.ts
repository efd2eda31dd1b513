import { KafkaTransportError } from '../../errors/kafka-transport.error.js';
import { BrokerUnreachableError, StaleMemberError, TopicMissingError } from '../../errors/errors.js';
import { ProtocolError, protocolType } from './protocol-error.js';

/** The broker's answers which say that a member's generation is over. */
const STALE = new Set(['ILLEGAL_GENERATION', 'UNKNOWN_MEMBER_ID', 'FENCED_INSTANCE_ID']);

/** Answers that no retry changes: a person has to. */
const FATAL = new Set([
  'GROUP_AUTHORIZATION_FAILED',
  'TOPIC_AUTHORIZATION_FAILED',
  'CLUSTER_AUTHORIZATION_FAILED',
  'INCONSISTENT_GROUP_PROTOCOL',
  'INVALID_GROUP_ID',
  'INVALID_SESSION_TIMEOUT',
  'GROUP_MAX_SIZE_REACHED',
  'UNSUPPORTED_VERSION',
]);

export function isStale(error: unknown): boolean {
  return error instanceof StaleMemberError || STALE.has(protocolType(error) ?? '');
}

/** Whether trying again is in vain without somebody changing something. */
export function isFatal(error: unknown): boolean {
  if (error instanceof ProtocolError) return FATAL.has(error.type);
  if (error instanceof KafkaTransportError) return !error.retryable;
  return isFatalConnectionError(error) || !comesFromConnection(error);
}

/** Errors of kafkajs carry `retriable`, those of sockets `code`; anything else is a mistake in somebody's code. */
function comesFromConnection(error: unknown): boolean {
  return error instanceof Error && ('retriable' in error || 'code' in error);
}

/** Refused credentials and mistakes in the configuration; kafkajs marks them as not retriable. */
export function isFatalConnectionError(error: unknown): boolean {
  return error instanceof Error && 'retriable' in error && error.retriable === false;
}

/** Whether a request was not answered within the client's `requestTimeout`. */
export function isTimeout(error: unknown): boolean {
  return error instanceof Error && error.name === 'KafkaJSRequestTimeoutError';
}

/** Keeps errors of this library, wraps everything else. */
export function unreachable(error: unknown): KafkaTransportError {
  if (error instanceof KafkaTransportError) return error;
  const fatal = isFatalConnectionError(error);
  return new BrokerUnreachableError(
    fatal
      ? `The Kafka brokers refused the connection: ${text(error)}. Check "client.ssl", "client.sasl" and "client.brokers".`
      : `No Kafka broker can be reached: ${text(error)}. Check "client.brokers", "client.ssl" and "client.sasl", and that the brokers are up.`,
    { cause: error, retryable: !fatal },
  );
}

/** For calls of a running member: a stale generation, or something that may pass. */
export function memberError(error: unknown, what: string): KafkaTransportError {
  if (error instanceof KafkaTransportError) return error;
  if (isStale(error)) {
    return new StaleMemberError(`${what} was refused: this member's generation is over`, { cause: error });
  }
  return new BrokerUnreachableError(`${what} failed: ${text(error)}`, {
    cause: error,
    retryable: error instanceof ProtocolError ? error.retryable : true,
  });
}

/** As `memberError`, with what only a commit can be refused for. */
export function commitError(error: unknown): KafkaTransportError {
  const type = protocolType(error);
  if (type === 'UNKNOWN_TOPIC_OR_PARTITION') {
    return new TopicMissingError(`Offsets can't be committed: ${text(error)}`, { cause: error });
  }
  if (type === 'REBALANCE_IN_PROGRESS') {
    return new StaleMemberError('An offset commit was refused: the group is being rebalanced', {
      cause: error,
    });
  }
  return memberError(error, 'An offset commit');
}

/** On one line: what OpenSSL says ends with a line break. */
export function text(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).trim().replace(/\s*\n\s*/g, ' ');
}
