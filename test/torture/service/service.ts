import { connect } from 'node:net';
import { Logger, Module, type Type } from '@nestjs/common';
import { type INestMicroservice } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { MicroserviceOptions } from '@nestjs/microservices';
import type { ISocketFactory } from 'kafkajs';
import type * as library from 'nestjs-durable-kafka';
import type { KafkaDriver } from '../../../lib/driver/driver.js';
import type { KafkajsDriver } from '../../../lib/driver/kafkajs/kafkajs-driver.js';
import type { PostgresLedger } from '../../../lib/postgres/postgres-ledger.js';
import type { systemClock } from '../../../lib/runtime/clock.js';
import type { FailPoints } from '../../crash/children/fail-points.js';
import { controllersOf } from './controllers.js';
import type { ExecutionLog } from './execution-log.js';
import type { ServiceSettings } from './service-settings.js';

type Library = typeof library;

/** Claim mode: others take over after so long, ms. */
const LEASE = 6_000;

/** Nobody is held for an operator, and nobody waits long. */
const PARKING = {
  onExhausted: 'park',
  parking: { retryAfter: 300, max: 1_000, attempts: 1_000_000 },
} as const;

/** The build under test: what it exports, and the parts that fail points are put around. */
export interface Build extends Library {
  readonly KafkajsDriver: typeof KafkajsDriver;
  readonly PostgresLedger: typeof PostgresLedger;
  readonly systemClock: typeof systemClock;
}

export async function loadBuild(index: string): Promise<Build> {
  const part = async (path: string) => (await import(new URL(path, index).href)) as object;
  return {
    ...(await part('./index.js')),
    ...(await part('./driver/kafkajs/kafkajs-driver.js')),
    ...(await part('./postgres/postgres-ledger.js')),
    ...(await part('./runtime/clock.js')),
  } as Build;
}

/** An application of the service, from joining its group to leaving it; made anew for each membership. */
export class Service {
  private app: INestMicroservice | undefined;

  constructor(
    private readonly build: Build,
    private readonly settings: ServiceSettings,
    private readonly failPoints: FailPoints,
    private readonly log: ExecutionLog,
  ) {}

  /** Resolves when it has joined. */
  async join(): Promise<void> {
    const { build, settings, failPoints } = this;
    const { DurableModule, kafkaServer } = build;
    const ledger = new build.PostgresLedger({
      connection: {
        connectionString: settings.databaseUrl,
        max: settings.poolSize,
        connectionTimeoutMillis: 2_000,
      },
      schema: settings.ledgerSchema,
      log: new Logger('Ledger'),
    });
    @Module({
      imports: [DurableModule.forRoot({ ledger: failPoints.ledger(ledger), ...claiming(settings) })],
      controllers: controllersOf(build, settings, failPoints, this.log),
    })
    class ServiceModule {}

    const app = await NestFactory.createMicroservice<MicroserviceOptions>(
      ServiceModule,
      kafkaServer({
        driver: failPoints.driver(driverOf(build, settings)),
        consumer: {
          groupId: settings.groupId,
          sessionTimeout: settings.sessionTimeout,
          heartbeatInterval: settings.sessionTimeout / 4,
          metadataMaxAge: 5_000,
        },
        postfixId: '',
        subscribe: { fromBeginning: true },
        concurrency: settings.concurrency,
        ordering: settings.ordering,
        groupCommit: { maxRecords: settings.groupRecords, maxMillis: 50, concurrent: settings.concurrent },
        retry: { attempts: settings.attempts, initial: 20, max: 200 },
        deadLetter: true,
        ...(settings.parking && PARKING),
        provision: false,
      }),
    );
    app.enableShutdownHooks(['SIGTERM']);
    this.app = app;
    await app.listen();
  }

  /** An orderly end of the membership. */
  async leave(): Promise<void> {
    await this.app?.close();
    this.app = undefined;
  }

  counters(): Record<string, number> {
    const ledger = this.app?.get(this.build.DurableLedger as Type, { strict: false }) as
      InstanceType<Library['DurableLedger']> | undefined;
    return { ...ledger?.counters() };
  }
}

/** What differs from the default mode. */
function claiming({ mode }: ServiceSettings): object {
  return mode === 'claim' ? { mode, lease: LEASE } : {};
}

/** A Kafka client whose connections all go through this process' own proxies. */
export function driverOf(build: Build, settings: ServiceSettings): KafkaDriver {
  const socketFactory: ISocketFactory = ({ host, port, onConnect }) =>
    connect({ host, port: settings.brokerProxies[port] ?? port }, onConnect).setNoDelay();
  return new build.KafkajsDriver(
    { clientId: settings.instance, brokers: [...settings.brokers], socketFactory, connectionTimeout: 2_000 },
    build.systemClock,
    new Logger('Driver'),
  );
}
