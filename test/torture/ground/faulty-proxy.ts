import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** What becomes of bytes that come by. */
export type Traffic =
  | { readonly kind: 'pass' }
  /** Each piece waits so long, in its order. */
  | { readonly kind: 'delay'; readonly millis: number }
  | { readonly kind: 'slow'; readonly bytesPerSecond: number }
  /** Nothing arrives in this direction, and nobody is told. */
  | { readonly kind: 'half-open'; readonly towards: 'server' | 'client' | 'both' }
  /** Connections end as soon as they are made. */
  | { readonly kind: 'refuse' };

/** The instant at which a transaction is cut off: before the server hears COMMIT, or before its answer arrives. */
export type CommitCut = 'before' | 'after';

const CHECK_EVERY = 20;

/** Stands between one process and one server. What its network does can change at any time, also for open connections. */
export class FaultyProxy {
  private traffic: Traffic = { kind: 'pass' };
  private commitCut: CommitCut | undefined;
  private cutDone: (() => void) | undefined;
  private readonly links = new Set<Link>();
  private readonly server: Server;

  private constructor(private readonly target: { readonly host: string; readonly port: number }) {
    this.server = createServer((client) => this.join(client));
  }

  static async start(target: { host: string; port: number }): Promise<FaultyProxy> {
    const proxy = new FaultyProxy(target);
    await new Promise<void>((resolve, reject) => {
      proxy.server.once('error', reject);
      proxy.server.listen(0, '127.0.0.1', resolve);
    });
    proxy.server.unref();
    return proxy;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  /** Open connections. */
  get connections(): number {
    return this.links.size;
  }

  set(traffic: Traffic): void {
    // What was lost on the way stays lost: such a connection can't go on.
    if (this.traffic.kind === 'half-open') this.cut();
    this.traffic = traffic;
    if (traffic.kind === 'refuse') this.cut();
  }

  heal(): void {
    this.set({ kind: 'pass' });
    this.commitCut = undefined;
  }

  /** Destroys all open connections; new ones are taken. */
  cut(): void {
    for (const link of this.links) link.destroy();
  }

  /** Cuts the connection that commits next. Resolves when that has happened. */
  cutAtCommit(when: CommitCut): Promise<void> {
    this.commitCut = when;
    return new Promise((resolve) => (this.cutDone = resolve));
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.server.close(() => resolve()));
    this.cut();
    await closed;
  }

  private join(client: Socket): void {
    if (this.traffic.kind === 'refuse') {
      client.destroy();
      return;
    }
    const server = connect(this.target);
    const link = new Link([client, server], () => this.links.delete(link));
    this.links.add(link);
    let awaited = false;
    const cutHere = () => {
      awaited = false;
      link.destroy();
      this.cutDone?.();
    };
    link.forward(client, server, (bytes) => {
      if (this.commitCut === undefined || !bytes.includes('commit\0')) return this.waitFor('server', bytes);
      const when = this.commitCut;
      this.commitCut = undefined;
      if (when === 'before') cutHere();
      else awaited = true;
      return undefined;
    });
    link.forward(server, client, (bytes) => {
      if (awaited && bytes.includes('COMMIT\0')) cutHere();
      return this.waitFor('client', bytes);
    });
  }

  /** What these bytes wait for; nothing if they may go on at once. */
  private waitFor(towards: 'server' | 'client', bytes: Buffer): Promise<unknown> | undefined {
    const { traffic } = this;
    if (traffic.kind === 'delay') return sleep(traffic.millis);
    if (traffic.kind === 'slow') return sleep((bytes.length / traffic.bytesPerSecond) * 1_000);
    if (traffic.kind !== 'half-open' || (traffic.towards !== 'both' && traffic.towards !== towards)) {
      return undefined;
    }
    return this.changeFrom(traffic);
  }

  private async changeFrom(traffic: Traffic): Promise<void> {
    while (this.traffic === traffic) await sleep(CHECK_EVERY);
  }
}

/** Two sockets that live and die together. */
class Link {
  constructor(
    private readonly ends: readonly Socket[],
    onEnd: () => void,
  ) {
    for (const socket of ends) {
      socket.setNoDelay(true);
      socket.on('error', () => this.destroy());
      socket.on('close', () => {
        this.destroy();
        onEnd();
      });
    }
  }

  destroy(): void {
    for (const socket of this.ends) socket.destroy();
  }

  /** Passes bytes on in their order, each piece when what `waitFor` returned has settled. */
  forward(from: Socket, to: Socket, waitFor: (bytes: Buffer) => Promise<unknown> | undefined): void {
    let last: Promise<unknown> | undefined;
    from.on('data', (bytes) => {
      const wait = waitFor(bytes);
      if (!wait && !last) {
        to.write(bytes);
        return;
      }
      from.pause();
      const sent = Promise.all([last, wait]).then(() => {
        if (!to.destroyed) to.write(bytes);
        if (last !== sent) return;
        last = undefined;
        from.resume();
      });
      last = sent;
    });
  }
}
