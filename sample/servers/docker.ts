import { randomBytes } from 'node:crypto';
import { kafkaAnswers, postgresAnswers } from './answers.js';
import type { DockerEngine } from './docker-engine.js';
import { kafkaVersion } from './kafka-distribution.js';
import { kafkaSettings } from './kafka-properties.js';
import { initdbLocale } from './local-postgres.js';
import { onFreePort } from './on-free-port.js';
import type { Log, RunningServer, Way } from './server.js';
import { waitFor } from './wait-for.js';

const startMs = 60_000;

const kafkaImage = `apache/kafka:${kafkaVersion}`;
const postgresImage = 'postgres:18';

interface Container {
  image: string;
  /** Inside the container. */
  port: number;
  command?: string[];
  environment: (host: string, port: number) => Record<string, string>;
  answers: (host: string, port: number) => Promise<unknown>;
}

/** Kafka in a container that testcontainers removes. */
export function dockerKafka(engine: DockerEngine, log: Log): Way<string[]> {
  return {
    origin: 'docker',
    missing: () => engine.missing(),
    start: () =>
      startContainer(
        {
          image: kafkaImage,
          port: 9092,
          environment: kafkaEnvironment,
          answers: (host, port) => kafkaAnswers([`${host}:${port}`], { groups: true }),
        },
        'Kafka',
        log,
        (host, port) => [`${host}:${port}`],
      ),
  };
}

/** Postgres in a container that testcontainers removes. */
export function dockerPostgres(engine: DockerEngine, log: Log): Way<string> {
  const password = randomBytes(12).toString('hex');
  const url = (host: string, port: number) => `postgres://postgres:${password}@${host}:${port}/postgres`;
  return {
    origin: 'docker',
    missing: () => engine.missing(),
    start: () =>
      startContainer(
        {
          image: postgresImage,
          port: 5432,
          command: [
            'postgres',
            '-c',
            'max_connections=200',
            '-c',
            'shared_preload_libraries=pg_stat_statements',
          ],
          environment: () => ({ POSTGRES_PASSWORD: password, POSTGRES_INITDB_ARGS: initdbLocale }),
          answers: (host, port) => postgresAnswers(url(host, port)),
        },
        'Postgres',
        log,
        url,
      ),
  };
}

/** The image turns `KAFKA_A_B` into `a.b`; any setting given replaces its defaults as a whole. */
function kafkaEnvironment(host: string, port: number): Record<string, string> {
  const settings = {
    ...kafkaSettings(1),
    'node.id': 1,
    'controller.quorum.voters': '1@localhost:9093',
    listeners: 'PLAINTEXT://:9092,CONTROLLER://:9093',
    'advertised.listeners': `PLAINTEXT://${host}:${port}`,
    'listener.security.protocol.map': 'PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT',
    'log.dirs': '/var/lib/kafka/data',
  };
  const entries = Object.entries(settings).map(([name, value]) => [
    `KAFKA_${name.toUpperCase().replaceAll('.', '_')}`,
    String(value),
  ]);
  return { ...Object.fromEntries(entries), KAFKA_HEAP_OPTS: '-Xmx512m' };
}

async function startContainer<Address>(
  container: Container,
  name: string,
  log: Log,
  address: (host: string, port: number) => Address,
): Promise<RunningServer<Address>> {
  // Loaded only now: it is large, and most starts do without.
  const { GenericContainer, Wait, getContainerRuntimeClient } = await import('testcontainers');
  const client = await getContainerRuntimeClient();
  const { host } = client.info.containerRuntime;
  log(`${name}: starting ${container.image} in Docker, downloading it if it is not there…`);
  const began = performance.now();
  // A fixed port: Docker gives a container that is started again another one, and brokers advertise theirs.
  const { started, port } = await onFreePort(async (port) => {
    const definition = new GenericContainer(container.image)
      .withEnvironment(container.environment(host, port))
      .withExposedPorts({ container: container.port, host: port })
      .withWaitStrategy(Wait.forListeningPorts())
      .withStartupTimeout(startMs);
    if (container.command) definition.withCommand(container.command);
    return { started: await definition.start(), port };
  });
  const answered = () =>
    waitFor(() => container.answers(host, port), {
      what: `${name} in Docker: no answer`,
      timeoutMs: startMs,
    });
  try {
    await answered();
  } catch (error) {
    await started.stop().catch(() => undefined);
    throw error;
  }
  log(`${name} ready at ${host}:${port} in ${((performance.now() - began) / 1000).toFixed(1)} s`);
  const raw = client.container.getById(started.getId());
  let running = true;
  return {
    origin: 'docker',
    address: address(host, port),
    control: {
      stop: async (how = 'fast') => {
        if (!running) return;
        await (how === 'kill' ? raw.kill({ signal: 'SIGKILL' }) : raw.stop({ t: 20 }));
        running = false;
      },
      start: async () => {
        if (running) return;
        await raw.start();
        running = true;
        await answered();
      },
    },
    end: async () => {
      await started.stop({ timeout: 0 });
    },
  };
}
