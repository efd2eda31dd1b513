import type * as GuardModule from '../../../sample/servers/guard.js';
import type * as ServersModule from '../../../sample/servers/index.js';
import type { ServerName, Servers, StartServersOptions } from '../../../sample/servers/index.js';
import { CrashWorld, type WorldOptions } from './crash-world.js';

/** Compiled: they start a watchdog program that lies beside them. */
async function compiled<Exports>(file: string): Promise<Exports> {
  return (await import(new URL(`../../../sample/dist/servers/${file}`, import.meta.url).href)) as Exports;
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
