import { createServer, connect, type AddressInfo, type Server, type Socket } from 'node:net';
import { databaseUrl } from './ledger-schema.js';

/** Sits between a ledger and Postgres, counts round trips, and cuts connections where a test wants it. */
export class PostgresProxy {
  /** Times that the direction turned from sending to answering. */
  roundTrips = 0;
  /** Cut the connection at the client's next COMMIT: before Postgres gets it, or before its answer comes back. */
  cutAtCommit: 'before' | 'after' | undefined;
  /** Milliseconds by which answers are late, in their order. */
  delay = 0;
  private readonly sockets = new Set<Socket>();
  private withheld: (() => void)[] | undefined;

  private constructor(
    private readonly server: Server,
    readonly url: string,
  ) {}

  static async start(): Promise<PostgresProxy> {
    const target = new URL(databaseUrl());
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const url = new URL(target);
    url.hostname = '127.0.0.1';
    url.port = String((server.address() as AddressInfo).port);
    const proxy = new PostgresProxy(server, url.href);
    server.on('connection', (client) => proxy.join(client, target));
    return proxy;
  }

  /** Cuts every connection; new ones are taken. */
  cut(): void {
    for (const socket of this.sockets) socket.destroy();
  }

  /** Keeps answers until they are released. */
  withhold(): void {
    this.withheld ??= [];
  }

  release(): void {
    const answers = this.withheld ?? [];
    this.withheld = undefined;
    for (const answer of answers) answer();
  }

  async stop(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private join(client: Socket, target: URL): void {
    const server = connect(Number(target.port || 5432), target.hostname);
    let sending = false;
    let silenced = false;
    for (const [socket, other] of [
      [client, server],
      [server, client],
    ] as const) {
      this.sockets.add(socket);
      socket.setNoDelay();
      socket.on('error', () => other.destroy());
      socket.on('close', () => {
        this.sockets.delete(socket);
        other.destroy();
      });
    }
    client.on('data', (chunk) => {
      sending = true;
      if (this.cutAtCommit !== undefined && chunk.includes('commit\0')) {
        silenced = true;
        if (this.cutAtCommit === 'before') {
          client.destroy();
          return;
        }
      }
      server.write(chunk);
    });
    server.on('data', (chunk) => {
      if (sending) this.roundTrips++;
      sending = false;
      if (silenced) client.destroy();
      else if (this.withheld) this.withheld.push(() => client.write(chunk));
      else if (this.delay > 0) setTimeout(() => client.write(chunk), this.delay);
      else client.write(chunk);
    });
  }
}
