import { KafkaRetriableException, RpcException } from '@nestjs/microservices';
import type { FailureClass } from '../consumption/decision.js';
import {
  ExecutionInWorkError,
  FencedError,
  IdempotencyKeyError,
  KeyReusedError,
  LeaseLostError,
  NonDeterministicStepError,
  ParkingFullError,
  StaleMemberError,
  StepResultError,
} from '../errors/errors.js';
import { isContention, isInfrastructureFailure } from '../errors/infrastructure.js';
import { KafkaTerminalException } from './kafka-terminal.exception.js';

/** What a thrown thing is; safe on anything. */
export function classifyFailure(error: unknown): FailureClass {
  if (error instanceof FencedError || error instanceof StaleMemberError) return 'fenced';
  if (error instanceof KafkaTerminalException || isDenial(error)) return 'terminal';
  if (error instanceof IdempotencyKeyError || error instanceof KeyReusedError) return 'terminal';
  if (error instanceof NonDeterministicStepError || error instanceof StepResultError) return 'terminal';
  if (error instanceof ParkingFullError) return 'crowded';
  if (error instanceof ExecutionInWorkError || error instanceof LeaseLostError) return 'contention';
  if (error instanceof KafkaRetriableException) return 'retriable-request';
  if (isContention(error)) return 'contention';
  return isInfrastructureFailure(error) ? 'infrastructure' : 'retryable';
}

/** The `dlt-reason` of a terminal failure. */
export function terminalReason(error: unknown): string {
  if (error instanceof KafkaTerminalException) return error.reason;
  if (isDenial(error)) return 'forbidden';
  if (error instanceof KeyReusedError) return 'key-reused';
  if (error instanceof IdempotencyKeyError) return error.reason;
  if (error instanceof NonDeterministicStepError) return 'non-deterministic';
  if (error instanceof StepResultError) return 'step-result';
  return 'terminal';
}

/** What Nest throws for a guard that returned `false`: it has decided, and would decide the same again. */
function isDenial(error: unknown): boolean {
  return error instanceof RpcException && error.message === 'Forbidden resource';
}
