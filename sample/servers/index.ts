import { firstThatStarts, usableWays } from './choose.js';
import { DataFolder } from './data-folder.js';
import { DockerEngine } from './docker-engine.js';
import { dockerKafka, dockerPostgres } from './docker.js';
import { givenKafka, givenPostgres } from './given.js';
import { Guard } from './guard.js';
import type { KafkaListener } from './kafka-properties.js';
import { localKafka } from './local-kafka.js';
import { localPostgres } from './local-postgres.js';
import type { Log, RunningServer, ServerControl, ServerOrigin } from './server.js';

export type { Log, ServerControl, ServerOrigin } from './server.js';

export type ServerName = 'kafka' | 'postgres';

export interface StartServersOptions {
  /** Which servers to have. Default both. */
  need?: ServerName[];
  /**
   * Nodes of the Kafka cluster, each broker and controller. More than one are always processes of this machine, whatever
   * `KAFKA_BROKERS` says: they are there to be stopped one by one. Default 1.
   */
  kafkaNodes?: number;
  /** What a single Kafka node has beside its open listener. With any it is a process of this machine, as a cluster is. */
  kafkaListeners?: readonly KafkaListener[];
  /** Receives progress lines. Default: silence. */
  log?: Log;
  /**
   * Folder for the data of local servers: absent, empty, or left by an earlier run with `keep`, whose data is then
   * taken up again. Default: a private folder under the system's temporary folder.
   */
  dataDir?: string;
  /** Leaves the data of local servers behind on `stop()`. Default false. */
  keep?: boolean;
}

/** Real servers. Reading a property of a server that was not needed throws. */
export interface Servers {
  /** Bootstrap addresses, e.g. `['127.0.0.1:29092']`. */
  readonly brokers: string[];
  /** `postgres://` URL of a superuser on an otherwise empty database. Carries a password: do not print it. */
  readonly databaseUrl: string;
  readonly origin: { readonly kafka: ServerOrigin; readonly postgres: ServerOrigin };
  readonly kafka: ServerControl;
  /** Each Kafka node by itself, by its id less 1; empty unless several were asked for. */
  readonly kafkaNodes: readonly ServerControl[];
  readonly postgres: ServerControl;
  /** Ends everything that was started and removes its data. Idempotent. */
  stop(): Promise<void>;
}

/**
 * Has Kafka and Postgres: at the addresses in `KAFKA_BROKERS` and `DATABASE_URL`, else in Docker, else as processes of
 * this machine. Rejects, with nothing left behind, if one of them cannot be had.
 *
 * The servers end with this process however it ends, SIGKILL included, and never keep it alive by themselves.
 */
export async function startServers(options: StartServersOptions = {}): Promise<Servers> {
  const { need = ['kafka', 'postgres'], kafkaNodes = 1, kafkaListeners = [], keep = false } = options;
  const { log = () => undefined } = options;
  const guard = new Guard();
  const folder = new DataFolder(guard, keep, options.dataDir);
  const engine = new DockerEngine();
  const local = { guard, folder, log };
  let kafka: RunningServer<string[]> | undefined;
  let postgres: RunningServer<string> | undefined;
  let stopping: Promise<void> | undefined;

  const end = async () => {
    const results = await Promise.allSettled([kafka?.end(keep), postgres?.end(keep)]);
    await guard.release();
    for (const result of results) if (result.status === 'rejected') throw result.reason;
  };
  const stop = () => (stopping ??= end());

  try {
    const here = localKafka({ ...local, nodes: kafkaNodes, listeners: kafkaListeners });
    const isOrdinary = kafkaNodes === 1 && kafkaListeners.length === 0;
    const kafkaWays = isOrdinary ? [givenKafka(), dockerKafka(engine, log), here] : [here];
    const ways = await usableWays({
      kafka: need.includes('kafka') ? kafkaWays : [],
      postgres: need.includes('postgres')
        ? [givenPostgres(), dockerPostgres(engine, log), localPostgres(local)]
        : [],
    });
    const results = await Promise.allSettled([
      firstThatStarts('Kafka', ways.kafka, log).then((server) => (kafka = server)),
      firstThatStarts('Postgres', ways.postgres, log).then((server) => (postgres = server)),
    ]);
    const reasons = results.flatMap((result) =>
      result.status === 'rejected' ? [result.reason as Error] : [],
    );
    if (reasons.length > 0) {
      const messages = new Set(reasons.map(({ message }) => message)); // both stumble over the same data folder
      throw messages.size === 1 ? reasons[0] : new AggregateError(reasons, [...messages].join('\n\n'));
    }
  } catch (error) {
    await stop().catch(() => undefined); // the reason for stopping is the error to show
    throw error;
  }

  const have = <Address>(name: ServerName, server: RunningServer<Address> | undefined) => {
    if (!server)
      throw new Error(`No ${name} here: startServers() was called with need: ['${need.join("', '")}'].`);
    return server;
  };
  return {
    get brokers() {
      return have('kafka', kafka).address;
    },
    get databaseUrl() {
      return have('postgres', postgres).address;
    },
    origin: {
      get kafka() {
        return have('kafka', kafka).origin;
      },
      get postgres() {
        return have('postgres', postgres).origin;
      },
    },
    get kafka() {
      return have('kafka', kafka).control;
    },
    get kafkaNodes() {
      return have('kafka', kafka).nodes ?? [];
    },
    get postgres() {
      return have('postgres', postgres).control;
    },
    stop,
  };
}
