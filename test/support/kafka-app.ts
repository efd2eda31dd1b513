import { Module, type INestMicroservice, type ModuleMetadata, type Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { ServerKafka, type KafkaTransportOptions } from '../../lib/index.js';
import { BrokerFixture, brokers } from './broker-fixture.js';
import { RecordingLogger } from './recording-logger.js';
import { reaches } from './reaches.js';

export interface KafkaAppOptions extends Pick<ModuleMetadata, 'providers' | 'imports'> {
  readonly controllers: Type[];
  readonly server?: KafkaTransportOptions;
}

export interface KafkaApp {
  readonly app: INestMicroservice;
  readonly server: ServerKafka;
  /** As it was given: the server's own has the postfix behind it. */
  readonly group: string;
  readonly log: RecordingLogger;
}

/** Applications of one spec on the real broker. */
export class KafkaApps extends BrokerFixture {
  /** For a server or client: the broker, a group of its own, a short poll, everything from the beginning, quick retries. */
  options(group: string, options: KafkaTransportOptions = {}): KafkaTransportOptions {
    return {
      subscribe: { fromBeginning: true },
      retry: { initial: 1, max: 20 },
      ...options,
      client: { brokers: brokers(), ...options.client },
      consumer: { groupId: group, maxWaitTimeInMs: 200, ...options.consumer },
      run: { autoCommitInterval: 50, ...options.run },
    };
  }

  /** Listens. Closed by `dispose`. */
  async start(options: KafkaAppOptions): Promise<KafkaApp> {
    const built = await this.build(options);
    await built.app.listen();
    return built;
  }

  async build({
    controllers,
    providers = [],
    imports = [],
    server: given,
  }: KafkaAppOptions): Promise<KafkaApp> {
    const group = given?.consumer?.groupId ?? this.group();
    const server = new ServerKafka(this.options(group, given));
    const log = new RecordingLogger();

    @Module({ imports, controllers, providers })
    class App {}

    const app = await NestFactory.createMicroservice(App, { strategy: server, logger: log });
    return { app: this.closing(app), server, group, log };
  }

  /** Text values, in one batch. */
  async emit(topic: string, ...values: (string | null)[]): Promise<void> {
    await this.produce(
      ...values.map((value) => ({
        topic,
        key: null,
        value: value === null ? null : Buffer.from(value),
        headers: [],
      })),
    );
  }

  /** Resolves when the group has committed `offset` in partition 0. */
  consumed(group: string, topic: string, offset: number): Promise<void> {
    return reaches(offset, () => this.committed(group, topic));
  }
}
