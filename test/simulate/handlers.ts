import { KafkaRetriableException, RpcException, type KafkaContext } from '@nestjs/microservices';
import { KafkaTerminalException, type DurableExecution } from 'nestjs-durable-kafka';
import type { InMemoryTransactionClient } from 'nestjs-durable-kafka/testing';
import type { Clock } from '../../lib/runtime/clock.js';
import type { Effect } from './evidence.js';
import {
  modeOf,
  type Behaviour,
  type HandlerName,
  type Plan,
  type PlannedMessage,
  type Topic,
} from './plan.js';
import type { Content, HandlerWork } from './service.js';
import type { Trace } from './trace.js';

/** What the handlers of all processes do, as planned. It remembers runs that were undone, as no real handler could. */
export class Handlers {
  /** Steps under a claim that ran again although their results were stored, in words. */
  readonly repeatedSteps: string[] = [];
  /** Those that are sick are well again. */
  areMended = false;
  private runs = 0;
  private readonly counts = new Map<string, number>();
  /** Under a claim: which run of a step is the stored one. */
  private readonly steps = new Map<string, number>();

  constructor(
    private readonly plan: Plan,
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
    const message = this.messageOf(n);
    const { work, emits, steps } = message;
    const isClaim = modeOf(this.plan, handler) === 'claim';
    const trouble = this.troubleOf(message, handler, content);
    // Under a claim an effect outlives the failure of its handler: whoever is to have none fails before it.
    if (isClaim && isHopeless(message.behaviour[handler])) trouble?.();
    const emitAll = async (by: number) => {
      for (let index = 0; index < effect.emits; index++) {
        await durable.emit('out', { value: { handler, run: by, index } });
      }
    };
    const effect: Effect = {
      handler,
      n,
      variant,
      topic: context.getTopic() as Topic,
      partition: context.getPartition(),
      offset: Number(context.getMessage().offset),
      run,
      emits: handler === 'second' ? 0 : emits,
      emitsInStep: isClaim && message.emitsInStep,
    };
    if (work > 0) await sleep(clock, work / 2);
    for (let index = 0; index < steps; index++) {
      await this.step(handler, message, durable, `before-${index}`, run);
    }
    const write = async (client: unknown) => {
      if (this.plan.sharesRow && n % 2 === 0) await (client as InMemoryTransactionClient).lock('shared');
      await (client as InMemoryTransactionClient).insert('effect', effect);
      if (isClaim && trouble === SWALLOWS) await swallow(client);
      return run;
    };
    const counted = isClaim
      ? await durable.transaction('effect', async (client) => {
          await write(client);
          if (effect.emitsInStep) await emitAll(run);
          return run;
        })
      : await write(durable.client);
    if (!effect.emitsInStep) await emitAll(counted);
    for (let index = 0; index < steps; index++) {
      await this.step(handler, message, durable, `after-${index}`, run);
    }
    if (work > 0) await sleep(clock, work / 2);
    if (trouble === SWALLOWS) {
      if (!isClaim) await swallow(durable.client);
    } else trouble?.();
    return handler === 'answer' ? { n, run: counted } : undefined;
  }

  /** Under a claim a step's result is stored before the handler goes on: from then on nobody gets another. */
  private async step(
    handler: HandlerName,
    { behaviour }: PlannedMessage,
    durable: DurableExecution,
    name: string,
    run: number,
  ): Promise<void> {
    const stored = await durable.step(name, () => run);
    // A request that failed begins anew.
    if (modeOf(this.plan, handler) !== 'claim' || behaviour[handler].kind === 'poison') return;
    const step = `step ${name} of ${handler} under key ${durable.key}`;
    const before = this.steps.get(step) ?? stored;
    this.steps.set(step, before);
    if (stored !== before) {
      this.repeatedSteps.push(
        `${step} has the result of run ${stored}, after that of run ${before} was stored`,
      );
    }
  }

  /** How this run is to fail, if it is. */
  private troubleOf(
    message: PlannedMessage,
    handler: HandlerName,
    { n, variant }: Content,
  ): (() => void) | undefined {
    const behaviour = message.behaviour[handler];
    const name = `${handler}/${n}/${variant}`;
    const count = (this.counts.get(name) ?? 0) + 1;
    this.counts.set(name, count);
    switch (behaviour.kind) {
      case 'good':
        return undefined;
      case 'flaky':
        return count > behaviour.runs ? undefined : () => failOnce(handler);
      case 'swallows':
        return count > behaviour.runs ? undefined : SWALLOWS;
      case 'poison':
        return () => failAlways(handler);
      case 'sick':
        return this.areMended ? undefined : () => failOnce(handler);
      case 'terminal':
        return () => {
          throw new KafkaTerminalException('hopeless');
        };
    }
  }
}

/** Stands for a statement that fails, and a handler that goes on as if nothing had happened. */
const SWALLOWS = () => undefined;

async function swallow(client: unknown): Promise<void> {
  await (client as InMemoryTransactionClient).fail(new Error('a broken statement')).catch(() => undefined);
}

function failOnce(handler: HandlerName): never {
  if (handler === 'answer') throw new KafkaRetriableException('not yet');
  throw new Error('not yet');
}

function failAlways(handler: HandlerName): never {
  if (handler === 'answer') throw new RpcException('refused');
  throw new Error('never');
}

function isHopeless({ kind }: Behaviour): boolean {
  return kind === 'poison' || kind === 'terminal' || kind === 'sick';
}

function sleep(clock: Clock, milliseconds: number): Promise<void> {
  return new Promise((resolve) => clock.setTimeout(resolve, milliseconds));
}
