import { Inject, Injectable } from '@nestjs/common';
import { InvalidRecordError, OutsideHandlerError } from '../errors/errors.js';
import { encodeMessage } from '../messages/encoder.js';
import { MESSAGE_ID_HEADER } from '../messages/idempotency-key.js';
import { isTopicName } from '../messages/topic-name.js';
import type { TransactionClient } from '../postgres/transaction-client.js';
import { systemClock, type Clock } from '../runtime/clock.js';
import { DURABLE_OPTIONS, type DurableModuleOptions } from './durable.options.js';
import { durableRuns, type DurableRun, type HandlerRun } from './handler-run.js';

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
   * @throws OutsideHandlerError outside a durable handler's run, and after its end.
   */
  get client(): TransactionClient {
    return this.run('client').client as TransactionClient;
  }

  /**
   * The message's idempotency key, the same at every attempt: pass it on to outside services.
   * @throws OutsideHandlerError
   */
  get key(): string {
    return this.handlerRun('key').key;
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
   * stable `message-id`. `message` is a value, or `{ key?, value, headers?, partition? }`.
   * @throws OutsideHandlerError, InvalidRecordError
   */
  async emit(topic: string, message: unknown): Promise<void> {
    const { outbox } = this.run('emit');
    // Once committed it has to be produced: what no broker takes is refused while the handler can still be told.
    if (!isTopicName(topic)) {
      throw new InvalidRecordError(
        `emit() was given "${String(topic).slice(0, 60)}" for a topic: names have 1 to 249 letters, digits, dots, ` +
          'dashes and underscores',
      );
    }
    const { key, value, headers, partition } = encodeMessage(message);
    // Headers that are passed on from the handler's own message must not make two records one.
    const own = headers.filter(([name]) => name !== MESSAGE_ID_HEADER);
    outbox.push({ id: this.clock.uuid(), topic, partition: partition ?? null, key, value, headers: own });
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
