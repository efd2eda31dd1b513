import {
  Controller,
  Inject,
  Module,
  type INestMicroservice,
  type OnModuleInit,
  type Type,
} from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { Ctx, EventPattern, MessagePattern, Payload, type KafkaContext } from '@nestjs/microservices';
import {
  Durable,
  DurableExecution,
  DurableModule,
  kafkaServer,
  type KafkaTransportOptions,
} from 'nestjs-durable-kafka';
import {
  InMemoryLedger,
  type InMemoryKafka,
  type InMemoryKafkaProcess,
  type InMemoryLedgerStore,
} from 'nestjs-durable-kafka/testing';
import type { Clock } from '../../lib/runtime/clock.js';
import { modeOf, orderingOf, type HandlerName, type Plan, type PlannedParking } from './plan.js';
import type { SimulatedProcess } from './scheduler.js';

export const GROUP = 'services-server';

const HANDLERS = Symbol('HANDLERS');

/** A message as handlers get it. */
export interface Content {
  readonly n: number;
  readonly variant: number;
}

/** What handlers do; the world's, which knows the plan. */
export type HandlerWork = (
  handler: HandlerName,
  content: Content,
  context: KafkaContext,
  durable: DurableExecution,
) => Promise<unknown>;

function controllerOf(plan: Plan): Type {
  const durable = (name: HandlerName) => ({ name, mode: modeOf(plan, name) });

  @Controller()
  class ServiceController {
    constructor(
      private readonly durable: DurableExecution,
      @Inject(HANDLERS) private readonly work: HandlerWork,
    ) {}

    @Durable(durable('first'))
    @EventPattern<string>('events')
    async first(@Payload() content: Content, @Ctx() context: KafkaContext): Promise<void> {
      await this.work('first', content, context, this.durable);
    }

    @Durable(durable('second'))
    @EventPattern<string>('events')
    async second(@Payload() content: Content, @Ctx() context: KafkaContext): Promise<void> {
      await this.work('second', content, context, this.durable);
    }

    @Durable(durable('answer'))
    @MessagePattern<string>('requests')
    answer(@Payload() content: Content, @Ctx() context: KafkaContext): Promise<unknown> {
      return this.work('answer', content, context, this.durable);
    }
  }
  return ServiceController;
}

function parkingOf({
  retryAfter,
  attempts,
  maxSequences,
  maxLetters,
}: PlannedParking): KafkaTransportOptions {
  return {
    onExhausted: 'park',
    parking: { retryAfter, attempts, maxSequences, maxLetters, max: 4 * retryAfter },
  };
}

export interface ServiceSettings {
  readonly plan: Plan;
  /** Its number among the instances. */
  readonly instance: number;
  readonly process: SimulatedProcess;
  readonly kafka: InMemoryKafka;
  readonly store: InMemoryLedgerStore;
  /** Milliseconds by which its wall clock is wrong. */
  readonly skew: number;
  /** Most milliseconds that messages to the store, and to the broker, take now. */
  readonly storeLatency: () => number;
  readonly latency: () => number;
  work(clock: Clock): HandlerWork;
}

/** One instance of the service: the whole application, as users have it, in a simulated process. */
export class Service {
  /** Resolves when the application listens, rejects when it could not start. */
  listening: Promise<unknown> = Promise.resolve();
  private constructor(
    readonly process: SimulatedProcess,
    private readonly app: INestMicroservice,
    private readonly assembled: Promise<void>,
    private readonly driver: InMemoryKafkaProcess,
    readonly ledger: InMemoryLedger,
  ) {}

  static async create(settings: ServiceSettings): Promise<Service> {
    const { plan, instance, process, kafka, store, skew, latency, storeLatency } = settings;
    const ordering = orderingOf(plan, instance);
    const clock = process.clock({ skew });
    const driver = kafka.process(process.clock({ skew, latency }));
    // The database has a clock of its own, which is right.
    const ledger = new InMemoryLedger({ store, clock: process.clock({ latency: storeLatency }) });

    let onAssembled = () => {};
    const assembled = new Promise<void>((resolve) => (onAssembled = resolve));

    @Module({
      imports: [DurableModule.forRoot({ ledger, clock, lease: plan.lease, fastFailover: plan.fastFailover })],
      controllers: [controllerOf(plan)],
      providers: [{ provide: HANDLERS, useValue: settings.work(clock) }],
    })
    class App implements OnModuleInit {
      onModuleInit(): void {
        onAssembled();
      }
    }

    const server = kafkaServer({
      driver,
      clock,
      consumer: {
        groupId: 'services',
        sessionTimeout: plan.sessionTimeout,
        heartbeatInterval: plan.sessionTimeout / 4,
        rebalanceTimeout: 8_000,
      },
      subscribe: { fromBeginning: true },
      deadLetter: plan.deadLetter,
      ...(plan.parking && parkingOf(plan.parking)),
      ordering,
      concurrency: plan.concurrency,
      groupCommit: {
        maxRecords: plan.groupSize,
        maxMillis: plan.groupMillis,
        concurrent: plan.concurrent && ordering === 'key',
      },
      retry: { attempts: plan.attempts, initial: 10, max: 100 },
      run: { autoCommitInterval: plan.commitInterval },
      shutdownTimeout: 2_000,
    });
    const app = await NestFactory.createMicroservice(App, { ...server, logger: false, abortOnError: false });
    return new Service(process, app, assembled, driver, ledger);
  }

  /** Resolves when the application is put together. From then on all that it does takes virtual time. */
  async start(): Promise<void> {
    this.listening = this.app.listen();
    this.listening.catch(() => undefined);
    await this.assembled;
  }

  /** As SIGTERM. */
  async stop(): Promise<void> {
    await this.app.close();
    this.process.kill();
  }

  /** As SIGKILL: everything in memory is gone, and its connections break. */
  crash(): void {
    this.process.kill();
    this.driver.crash();
    this.ledger.crash();
  }
}
