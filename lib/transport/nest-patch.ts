import { createRequire } from 'node:module';
import { join } from 'node:path';
import { Logger } from '@nestjs/common';
import {
  ClientProxyFactory,
  NestMicroservice,
  Transport,
  type ClientProxy,
  type CustomTransportStrategy,
} from '@nestjs/microservices';

/** What Nest is to build for `Transport.KAFKA`. */
export interface KafkaTransportClasses {
  readonly server: new (options: never) => CustomTransportStrategy;
  readonly client: new (options: never) => ClientProxy;
}

type CreateServer = (this: NestMicroservice, config: never) => void;
type CreateClient = (this: typeof ClientProxyFactory, options: never) => ClientProxy;
type Config = Readonly<Record<string, unknown>>;

/** Survives a second copy of this package in one process: the mark is on Nest's own function. */
const PATCHED = Symbol.for('nestjs-durable-kafka.patched');

/**
 * Makes the literal `Transport.KAFKA` mean these classes, wherever Nest builds servers and clients from options. An
 * explicit `strategy` or `customClass` still wins, other transports are not touched. Calls after the first change
 * nothing.
 */
export function patchNest(classes: KafkaTransportClasses): void {
  if (PATCHED in NestMicroservice.prototype.createServer) return;
  const createServer = NestMicroservice.prototype.createServer as CreateServer;
  const createClient = ClientProxyFactory.create as CreateClient;

  const patchedServer: CreateServer = function (config) {
    createServer.call(this, withServer(config, classes) as never);
  };
  const patchedClient: CreateClient = function (options) {
    const config = options as Config | undefined;
    if (!config?.['customClass'] && isKafka(config)) {
      return new classes.client((config['options'] ?? {}) as never);
    }
    return createClient.call(this, options);
  };
  NestMicroservice.prototype.createServer = marked(patchedServer) as never;
  ClientProxyFactory.create = marked(patchedClient) as never;
}

/**
 * Warns if the application, seen from its working directory and from its main file, loads another copy of
 * `@nestjs/microservices` than this library: that one is not patched and goes on with the built-in transport.
 */
export function warnOfSecondCopy(
  origins: readonly string[] = applicationOrigins(),
  log: Pick<Logger, 'warn'> = new Logger('nestjs-durable-kafka/register'),
): void {
  const ours = resolveMicroservices(import.meta.url);
  for (const origin of origins) {
    const theirs = resolveMicroservices(origin);
    if (!theirs || !ours || theirs === ours) continue;
    log.warn(
      `The application loads another copy of @nestjs/microservices (${theirs}) than nestjs-durable-kafka (${ours}), ` +
        'so Transport.KAFKA still means the built-in transport there. Deduplicate it ("npm ls @nestjs/microservices"), ' +
        'or use kafkaServer() and kafkaClient().',
    );
    return;
  }
}

function withServer(config: Config, classes: KafkaTransportClasses): Config {
  const { useFactory } = config;
  if (typeof useFactory !== 'function') return withStrategy(config, classes);
  // Nest itself calls the factory, with what it has injected; only its result is looked at here.
  const wrapped = (...args: unknown[]) => withStrategy(useFactory(...args) as Config, classes);
  return { ...config, useFactory: wrapped };
}

function withStrategy(config: Config, { server }: KafkaTransportClasses): Config {
  if (!isKafka(config) || 'strategy' in config) return config;
  return { ...config, strategy: new server((config['options'] ?? {}) as never) };
}

function isKafka(config: Config | undefined): config is Config {
  return config?.['transport'] === Transport.KAFKA;
}

function marked<T extends object>(patched: T): T {
  return Object.defineProperty(patched, PATCHED, { value: true });
}

function applicationOrigins(): string[] {
  const main = process.argv[1];
  return [join(process.cwd(), 'package.json'), ...(main ? [main] : [])];
}

function resolveMicroservices(origin: string): string | undefined {
  try {
    return createRequire(origin).resolve('@nestjs/microservices');
  } catch {
    return undefined;
  }
}
