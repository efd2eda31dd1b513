import { KafkaRetriableException, RpcException, type KafkaContext } from '@nestjs/microservices';
import { KafkaTerminalException, type DurableExecution } from 'nestjs-durable-kafka';
import type { InMemoryTransactionClient } from 'nestjs-durable-kafka/testing';
import type { Clock } from '../../lib/runtime/clock.js';
import type { Effect } from './evidence.js';
import type { Behaviour, HandlerName, PlannedMessage, Topic } from './plan.js';
import type { Content, HandlerWork } from './service.js';
import type { Trace } from './trace.js';

/** What the handlers of all processes do, as planned. It remembers runs that were undone, as no real handler could. */
export class Handlers {
  private runs = 0;
  private readonly counts = new Map<string, number>();

  constructor(
    private readonly messageOf: (n: number) => PlannedMessage,
    private readonly trace: Trace,
  ) {}

  /** @param who the process that they run in. */
  in(who: string, clock: Clock): HandlerWork {
    return async (handler, content, context, durable) => {
      const run = ++this.runs;
      const place = `${context.getTopic()}[${context.getPartition()}]@${context.getMessage().offset}`;
      this.trace.add(who, `${handler} begins run ${run} with message ${content.n} at ${place}`);
      try {
        const result = await this.perform(run, handler, content, context, durable, clock);
        this.trace.add(who, `${handler} ends run ${run}`);
        return result;
      } catch (error) {
        const why = error instanceof Error ? error.message : String(error);
        this.trace.add(who, `${handler} fails in run ${run}: ${why}`);
        throw error;
      }
    };
  }

  private async perform(
    run: number,
    handler: HandlerName,
    content: Content,
    context: KafkaContext,
    durable: DurableExecution,
    clock: Clock,
  ): Promise<unknown> {
    const { n, variant } = content;
    const { work, emits, behaviour } = this.messageOf(n);
    const client = durable.client as unknown as InMemoryTransactionClient;
    if (work > 0) await sleep(clock, work / 2);
    const effect: Effect = {
      handler,
      n,
      variant,
      topic: context.getTopic() as Topic,
      partition: context.getPartition(),
      offset: Number(context.getMessage().offset),
      run,
      emits: handler === 'second' ? 0 : emits,
    };
    await client.insert('effect', effect);
    for (let index = 0; index < effect.emits; index++) {
      await durable.emit('out', { value: { handler, run, index } });
    }
    if (work > 0) await sleep(clock, work / 2);
    await this.misbehave(behaviour[handler], handler, content, client);
    return handler === 'answer' ? { n, run } : undefined;
  }

  private async misbehave(
    behaviour: Behaviour,
    handler: HandlerName,
    { n, variant }: Content,
    client: InMemoryTransactionClient,
  ): Promise<void> {
    const name = `${handler}/${n}/${variant}`;
    const count = (this.counts.get(name) ?? 0) + 1;
    this.counts.set(name, count);
    switch (behaviour.kind) {
      case 'good':
        return;
      case 'flaky':
        if (count > behaviour.runs) return;
        if (handler === 'answer') throw new KafkaRetriableException('not yet');
        throw new Error('not yet');
      case 'swallows':
        if (count <= behaviour.runs)
          await client.fail(new Error('a broken statement')).catch(() => undefined);
        return;
      case 'poison':
        if (handler === 'answer') throw new RpcException('refused');
        throw new Error('never');
      case 'terminal':
        throw new KafkaTerminalException('hopeless');
    }
  }
}

function sleep(clock: Clock, milliseconds: number): Promise<void> {
  return new Promise((resolve) => clock.setTimeout(resolve, milliseconds));
}
