/** Program. A service whose start goes wrong in the way that its settings name. */
import 'reflect-metadata';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  Controller,
  Module,
  type DynamicModule,
  type INestMicroservice,
  type OnApplicationShutdown,
  type Type,
} from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { EventPattern, MessagePattern, Transport, type MicroserviceOptions } from '@nestjs/microservices';
import { DurableModule, kafkaServer, type KafkaTransportOptions } from 'nestjs-durable-kafka';
import { createNoHttpAdapter } from './no-http.adapter.js';
import { SETTINGS_VARIABLE, type ScenarioName, type StartupSettings } from './scenarios.js';

const settings = JSON.parse(process.env[SETTINGS_VARIABLE]!) as StartupSettings;
const { scenario, topic, schema } = settings;

function controller(): Type {
  @Controller()
  class Handlers {
    @EventPattern<string>(topic)
    handle(): void {
      return;
    }
  }
  @Controller()
  class ObjectPattern {
    @EventPattern({ cmd: 'handle' })
    handle(): void {
      return;
    }
  }
  @Controller()
  class TwoAnswers {
    @MessagePattern(topic)
    first(): string {
      return 'first';
    }
    @MessagePattern(topic)
    second(): string {
      return 'second';
    }
  }
  if (scenario === 'object pattern') return ObjectPattern;
  return scenario === 'two message handlers' ? TwoAnswers : Handlers;
}

function databaseUrl(): string {
  const url = new URL(settings.databaseUrl);
  if (scenario === 'database unreachable') url.port = '1';
  if (scenario === 'database password wrong') url.password = 'not-the-pass-phrase';
  if (scenario === 'database missing') url.pathname = '/no_such_database';
  return String(url);
}

function durableModules(): DynamicModule[] {
  const options: Record<string, unknown> = { connection: databaseUrl(), schema };
  if (scenario === 'durable option unknown') options['shema'] = 'x';
  if (scenario === 'connection missing') options['connection'] = undefined;
  if (scenario === 'pool too small') options['connection'] = { connectionString: databaseUrl(), max: 3 };
  const one = DurableModule.forRoot(options);
  return scenario === 'two durable modules'
    ? [one, DurableModule.forRoot({ ...options, schema: `${schema}_2` })]
    : [one];
}

const BROKEN: Partial<Record<ScenarioName, object>> = {
  'broker unreachable': { client: { brokers: ['127.0.0.1:1'], retry: { retries: 2 } } },
  'broker name unknown': { client: { brokers: ['no-such-broker.invalid:9092'], retry: { retries: 2 } } },
  // Whether it refuses connections, or takes them and is silent.
  'broker unreachable for long': {
    client: {
      brokers: settings.brokers,
      requestTimeout: 600_000,
      retry: { retries: 1_000_000, maxRetryTime: 300 },
    },
  },
  'topic missing': { provision: false },
  'option unknown': { concurency: 4 },
  'option misspelt in retry': { retry: { atempts: 4 } },
  'option value wrong': { concurrency: '4' },
  'option of a wrong kind': { deadLetter: 4 },
  'autoCommit true': { run: { autoCommit: true } },
  'autoCommit false': { run: { autoCommit: false } },
  'pool too small': { concurrency: 8 },
  'heartbeat above session': {
    consumer: { groupId: settings.group, sessionTimeout: 6_000, heartbeatInterval: 9_000 },
  },
};

function serverOptions(): KafkaTransportOptions {
  return {
    client: { brokers: settings.brokers },
    consumer: { groupId: settings.group },
    subscribe: { fromBeginning: true },
    ...BROKEN[scenario],
  };
}

@Module({ imports: durableModules(), controllers: [controller()] })
class App implements OnApplicationShutdown {
  async onApplicationShutdown(signal?: string): Promise<void> {
    await sleep(100);
    console.log(`HOOKS DONE ${signal}`);
  }
}

async function bootstrap(): Promise<void> {
  if (scenario === 'interceptor not reached') {
    const app = await NestFactory.create(App, createNoHttpAdapter());
    app.connectMicroservice<MicroserviceOptions>(kafkaServer(serverOptions()));
    await app.startAllMicroservices();
    return;
  }
  const options: MicroserviceOptions =
    scenario === 'built-in transport'
      ? { transport: Transport.KAFKA, options: serverOptions() }
      : kafkaServer(serverOptions());
  const app: INestMicroservice = await NestFactory.createMicroservice<MicroserviceOptions>(App, options);
  if (settings.main === 'own-handler')
    process.on('SIGTERM', () => void app.close().then(() => process.exit()));
  else app.enableShutdownHooks();
  await app.listen();
  console.log('LISTENING');
  if (scenario === 'fine') await app.close();
}

if (settings.main === 'caught') {
  bootstrap().catch((error: Error) => {
    console.error(`MAIN: ${error.message}`);
    process.exitCode = 1;
  });
} else {
  void bootstrap();
}
