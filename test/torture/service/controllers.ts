import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { Controller, Inject, type Type } from '@nestjs/common';
import {
  Ctx,
  EventPattern,
  type KafkaContext,
  MessagePattern,
  Payload,
  RpcException,
} from '@nestjs/microservices';
import type * as library from 'nestjs-durable-kafka';
import type { FailPoints } from '../../crash/children/fail-points.js';
import { handlers, type HandlerName, positionOf, readWork, type Work } from '../work.js';
import type { ExecutionLog } from './execution-log.js';
import type { ServiceSettings } from './service-settings.js';

type Library = typeof library;

interface Queryable {
  query(text: string, values: unknown[]): Promise<unknown>;
}

/** What claim mode writes through. */
interface Stepping {
  transaction<Result>(name: string, work: (client: Queryable) => Promise<Result>): Promise<Result>;
}

/** Runs of a message that fail before one does not, where its failure is `retry`. */
const FAILURES = 2;

/** The handlers of the service, over the build under test. */
export function controllersOf(
  { DurableExecution: Execution, Durable, KafkaTerminalException }: Library,
  { topics, instance, mode, mended }: ServiceSettings,
  failPoints: FailPoints,
  log: ExecutionLog,
): Type[] {
  class Handlers {
    constructor(protected readonly durable: library.DurableExecution) {}

    /** Writes the effect, and says whose run it counts for. */
    protected async perform(handler: HandlerName, payload: unknown, context: KafkaContext): Promise<string> {
      const place = {
        topic: context.getTopic(),
        partition: context.getPartition(),
        offset: context.getMessage().offset,
      };
      const recordKey = textOf(context.getMessage().key);
      const work = readWork(payload) ?? stranger(place);
      const run = randomUUID();
      const { key, attempt } = this.durable;
      const line = { handler, run, id: work.id, key, attempt, ...place };
      log.write({ what: 'start', ...line });
      const mayFail = handler === handlers.event || handler === handlers.request;
      try {
        // A step outlives the failure of its handler: under claim mode whoever fails does so before the effect.
        if (mayFail && mode === 'claim') this.fail(work, attempt);
        const counted = await this.effect(handler, work, run, { ...place, recordKey });
        if (handler === handlers.event) {
          await this.durable.emit(topics.out, { key: work.key, value: { id: work.id, run: counted } });
        }
        await failPoints.reach('in-handler', place.topic);
        if (work.millis > 0) await sleep(work.millis);
        if (mayFail) this.fail(work, attempt);
        log.write({ what: 'end', ...line });
        return counted;
      } catch (error) {
        log.write({ what: 'fail', ...line });
        throw error;
      }
    }

    /** Resolves with the run whose effect it is: under claim mode that of an earlier run, if it came that far. */
    private async effect(
      handler: HandlerName,
      work: Work,
      run: string,
      place: { topic: string; partition: number; offset: string; recordKey: string | null },
    ): Promise<string> {
      const insert = async (client: Queryable) => {
        await client.query(
          `insert into effect (handler, id, run, key, record_key, instance, topic, wave, partition, record_offset)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
          [
            ...[handler, work.id, run, this.durable.key, place.recordKey, instance],
            ...[place.topic, work.wave ?? 0, place.partition, place.offset],
          ],
        );
        return run;
      };
      if (mode === 'transaction') return insert(this.durable.client);
      return (this.durable as unknown as Stepping).transaction('effect', insert);
    }

    private fail({ failure }: Work, attempt: number): void {
      if (failure === 'terminal') throw new KafkaTerminalException('a failure that was asked for');
      if (failure === 'sick' && !existsSync(mended)) throw new Error('a failure that can be mended');
      if (failure === 'dead' || (failure === 'retry' && attempt <= FAILURES)) {
        throw new RpcException('a failure that was asked for');
      }
    }
  }

  @Controller()
  class WorkController extends Handlers {
    constructor(@Inject(Execution) durable: library.DurableExecution) {
      super(durable);
    }

    @Durable({ name: handlers.event })
    @EventPattern<string>(topics.events)
    async onEvent(@Payload() payload: unknown, @Ctx() context: KafkaContext): Promise<void> {
      await this.perform(handlers.event, payload, context);
    }

    @Durable({ name: handlers.volatile })
    @EventPattern<string>(topics.volatile)
    async onVolatile(@Payload() payload: unknown, @Ctx() context: KafkaContext): Promise<void> {
      await this.perform(handlers.volatile, payload, context);
    }

    @Durable({ name: handlers.request })
    @MessagePattern(topics.requests)
    async onRequest(@Payload() payload: unknown, @Ctx() context: KafkaContext) {
      const run = await this.perform(handlers.request, payload, context);
      return { id: readWork(payload)?.id ?? '', run };
    }
  }

  /** A second handler of the same records: another scope. */
  @Controller()
  class AuditController extends Handlers {
    constructor(@Inject(Execution) durable: library.DurableExecution) {
      super(durable);
    }

    @Durable({ name: handlers.audit })
    @EventPattern<string>(topics.events)
    async onEvent(@Payload() payload: unknown, @Ctx() context: KafkaContext): Promise<void> {
      await this.perform(handlers.audit, payload, context);
    }
  }

  return [WorkController, AuditController];
}

/** As the oracle reads it; Postgres stores no NUL in text. */
function textOf(key: unknown): string | null {
  return key instanceof Uint8Array || typeof key === 'string' ? key.toString().replaceAll('\0', '') : null;
}

/** Stands for a payload that no honest producer wrote. */
function stranger({ topic, partition, offset }: { topic: string; partition: number; offset: string }): Work {
  return { id: positionOf(topic, partition, offset), key: '', seq: 0, millis: 0 };
}
