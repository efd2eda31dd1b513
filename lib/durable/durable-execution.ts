import { Inject, Injectable } from '@nestjs/common';
import {
  InvalidRecordError,
  NoTransactionError,
  OutsideHandlerError,
  WrongCallOrderError,
} from '../errors/errors.js';
import { encodeMessage } from '../messages/encoder.js';
import { describeKey, MESSAGE_ID_HEADER } from '../messages/idempotency-key.js';
import { isRedriveHeader } from '../messages/redrive-headers.js';
import { isTopicName } from '../messages/topic-name.js';
import type { TransactionClient } from '../postgres/transaction-client.js';
import { systemClock, type Clock } from '../runtime/clock.js';
import { DURABLE_OPTIONS, type DurableModuleOptions } from './durable.options.js';
import { durableRuns, type DurableRun, type HandlerRun } from './handler-run.js';
import type { StepOptions } from './step.options.js';

const emitMessage =
  'emit() was called inside a step: a run that replays the step would not emit. Emit after the step, or in ' +
  'durable.transaction(name, fn), which records what it emits.';

/**
 * Injected into controllers and services: the current message's transaction, key and outbox. `client` and `emit` work
 * within `DurableLedger.transaction` too.
 */
@Injectable()
export class DurableExecution {
  private readonly clock: Clock;

  constructor(@Inject(DURABLE_OPTIONS) options: DurableModuleOptions) {
    this.clock = options.clock ?? systemClock;
  }

  /**
   * The Postgres client of the message's transaction: what it writes commits with the message or not at all.
   * Within `transaction()` it is that transaction's.
   * @throws OutsideHandlerError outside a durable handler's run, and after its end; NoTransactionError in claim mode.
   */
  get client(): TransactionClient {
    const { client } = this.run('client');
    if (client === undefined) throw new NoTransactionError('DurableExecution.client');
    return client as TransactionClient;
  }

  /**
   * The message's idempotency key, the same at every attempt: pass it on to outside services.
   * @throws OutsideHandlerError
   */
  get key(): string {
    return describeKey(this.handlerRun('key').key);
  }

  /**
   * 1 for the first run of the handler for this message, plus the failures so far, also of earlier processes.
   * @throws OutsideHandlerError
   */
  get attempt(): number {
    return this.handlerRun('attempt').attempt;
  }

  /**
   * Publishes a record if and only if this message commits: after the commit, in the order of the calls, under a
   * stable `message-id`. `message` is a value, or `{ key?, value, headers?, partition? }`. Within `transaction()` it is
   * published if and only if that commits.
   * @throws OutsideHandlerError, InvalidRecordError; WrongCallOrderError within `step()`.
   */
  async emit(topic: string, message: unknown): Promise<void> {
    const run = this.run('emit');
    if (run.kind === 'handler' && run.within === 'step') throw new WrongCallOrderError(emitMessage);
    const { outbox } = run;
    // Once committed it has to be produced: what no broker takes is refused while the handler can still be told.
    if (!isTopicName(topic)) {
      throw new InvalidRecordError(
        `emit() was given "${String(topic).slice(0, 60)}" for a topic: names have 1 to 249 letters, digits, dots, ` +
          'dashes and underscores',
      );
    }
    const { key, value, headers, partition } = encodeMessage(message);
    // Headers that are passed on from the handler's own message must not make two records one, nor say whom it is for.
    const own = headers.filter((header) => header[0] !== MESSAGE_ID_HEADER && !isRedriveHeader(header));
    outbox.push({ id: this.clock.uuid(), topic, partition: partition ?? null, key, value, headers: own });
  }

  /**
   * Runs `fn` and records what it resolves with, so that later runs of this message's handler get the result instead of
   * running it again. The handler goes through its steps one after the other, in the same order and under the same names
   * at every run. The result is plain data: Dates, BigInts, Buffers, Maps, Sets, errors and cycles are kept.
   *
   * In claim mode the result is stored before `step` resolves; `fn` may run again after a crash in between, so pass
   * `key` on to services outside. In transaction mode it is stored when the message commits, with what `fn` wrote through
   * `client`: a rollback undoes both.
   *
   * @param fn is given a signal that aborts at `timeout` and when the handler's work is no longer wanted.
   * @throws what `fn` throws when its tries are used up; StepTimeoutError; NonDeterministicStepError if another step is
   * recorded at this place; StepResultError; WrongCallOrderError inside a step, or beside one; OutsideHandlerError.
   */
  async step<T>(
    name: string,
    fn: (signal: AbortSignal) => T | Promise<T>,
    options: StepOptions = {},
  ): Promise<T> {
    const run = this.handlerRun('step');
    const call = {
      kind: 'step',
      name,
      fn: (_client: unknown, signal: AbortSignal) => fn(signal),
      options,
    } as const;
    return (await run.steps.run(run, call)) as T;
  }

  /**
   * A step that writes to the database: its record commits with what `fn` writes through its argument, `client` or
   * `DurablePool`, and emits. In claim mode that is a transaction of its own, in transaction mode a part of the
   * message's: undone if `fn` throws.
   * @throws as `step`; LedgerUnreachableError, CommitUnknownError, LeaseLostError.
   */
  async transaction<T>(
    name: string,
    fn: (client: TransactionClient, signal: AbortSignal) => T | Promise<T>,
    options: StepOptions = {},
  ): Promise<T> {
    const run = this.handlerRun('transaction');
    const work = (client: unknown, signal: AbortSignal) => fn(client as TransactionClient, signal);
    return (await run.steps.run(run, { kind: 'transaction', name, fn: work, options })) as T;
  }

  private run(member: string): DurableRun {
    const run = durableRuns.getStore();
    if (!run?.open) throw new OutsideHandlerError(member);
    return run;
  }

  private handlerRun(member: string): HandlerRun {
    const run = this.run(member);
    if (run.kind !== 'handler') throw new OutsideHandlerError(member);
    return run;
  }
}
