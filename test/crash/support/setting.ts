import { join } from 'node:path';
import type * as DataFolderModule from '../../../sample/servers/data-folder.js';
import type * as GuardModule from '../../../sample/servers/guard.js';
import type * as LocalKafkaModule from '../../../sample/servers/local-kafka.js';
import type * as ServersModule from '../../../sample/servers/index.js';
import type { ServerName, Servers, StartServersOptions } from '../../../sample/servers/index.js';
import { CrashWorld, type WorldOptions } from './crash-world.js';

/** Compiled: they start a watchdog program that lies beside them. */
async function compiled<Exports>(file: string): Promise<Exports> {
  return (await import(new URL(`../../../sample/dist/servers/${file}`, import.meta.url).href)) as Exports;
}

export interface BrokerWithLogs {
  readonly brokers: readonly string[];
  readonly kafka: Servers['kafka'];
  /** Holds a folder `topic-partition` for each. */
  readonly logs: string;
}

/** Where the scenarios of a spec file take place: what they start ends with them, however they end. */
export class Setting {
  private readonly worlds: Promise<CrashWorld>[] = [];
  private readonly servers: Promise<Pick<Servers, 'stop'>>[] = [];
  private readonly brokers = variable('KAFKA_BROKERS').split(',');
  readonly databaseUrl = variable('DATABASE_URL');

  private constructor(private readonly guard: GuardModule.Guard) {}

  static async open(): Promise<Setting> {
    const { Guard } = await compiled<typeof GuardModule>('guard.js');
    return new Setting(new Guard());
  }

  /** On the servers given to all tests, unless others are named. */
  world(options: Partial<WorldOptions> = {}): Promise<CrashWorld> {
    const { guard, brokers, databaseUrl } = this;
    const world = CrashWorld.create({ guard, brokers, databaseUrl, ...options });
    this.worlds.push(world);
    return world;
  }

  /** Servers that may be stopped and killed. */
  ownServers(...need: ServerName[]): Promise<Servers> {
    return this.start({ need });
  }

  /** Three brokers, each of which may be stopped and killed. */
  ownCluster(): Promise<Servers> {
    return this.start({ need: ['kafka'], kafkaNodes: 3 });
  }

  /** A broker of this machine, with the folder of its logs: for tests that go at them while it is stopped. */
  async ownLogs(): Promise<BrokerWithLogs> {
    const { localKafka } = await compiled<typeof LocalKafkaModule>('local-kafka.js');
    const { DataFolder } = await compiled<typeof DataFolderModule>('data-folder.js');
    const { guard } = this;
    const folder = new DataFolder(guard, false, undefined);
    const kafka = localKafka({ guard, folder, log: () => undefined, nodes: 1, listeners: [] });
    const missing = await kafka.missing();
    if (missing !== undefined) throw new Error(`No broker can be started on this machine: ${missing}`);
    const { address, control } = await kafka.start();
    return { brokers: address, kafka: control, logs: join(await folder.path(), 'kafka', 'data') };
  }

  private async start(options: StartServersOptions): Promise<Servers> {
    const { startServers } = await compiled<typeof ServersModule>('index.js');
    // Given servers belong to somebody else: startServers() would take them, and refuse to stop them.
    delete process.env['KAFKA_BROKERS'];
    delete process.env['DATABASE_URL'];
    const servers = startServers(options);
    this.servers.push(servers);
    return servers;
  }

  async close(): Promise<void> {
    const worlds = await Promise.allSettled(this.worlds);
    await Promise.all(worlds.map((world) => world.status === 'fulfilled' && world.value.dispose()));
    const servers = await Promise.allSettled(this.servers);
    await Promise.all(servers.map((server) => server.status === 'fulfilled' && server.value.stop()));
    await this.guard.release();
  }
}

function variable(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: these tests need real servers`);
  return value;
}
