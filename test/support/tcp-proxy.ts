import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

/**
 * `pass`: goes on. `cut`: both ends of the connection are destroyed, and these bytes go nowhere. A number: so many of
 * these bytes go on before the connection is cut.
 */
export type Verdict = 'pass' | 'cut' | number;

/** Sees the bytes of one connection in the order of their arrival at the proxy. */
export interface Inspector {
  fromClient?(bytes: Buffer): Verdict;
  fromServer?(bytes: Buffer): Verdict;
}

/** Stands between a client and a server and cuts their connection where an inspector says so. */
export class TcpProxy {
  private readonly sockets = new Set<Socket>();
  private readonly server: Server;

  private constructor(
    private readonly target: { readonly host: string; readonly port: number },
    private readonly inspect: () => Inspector,
  ) {
    this.server = createServer((client) => this.join(client));
  }

  /** @param inspect makes an inspector for each connection */
  static async start(target: { host: string; port: number }, inspect: () => Inspector): Promise<TcpProxy> {
    const proxy = new TcpProxy(target, inspect);
    await new Promise<void>((resolve, reject) => {
      proxy.server.once('error', reject);
      proxy.server.listen(0, '127.0.0.1', resolve);
    });
    return proxy;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  /** Destroys what is open; new connections are taken. */
  cut(): void {
    for (const socket of this.sockets) socket.destroy();
  }

  /** Destroys what is open and listens no more. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.server.close(() => resolve()));
    this.cut();
    await closed;
  }

  private join(client: Socket): void {
    const server = connect(this.target);
    const inspector = this.inspect();
    const ends = [client, server];
    const cut = () => ends.forEach((socket) => socket.destroy());
    for (const socket of ends) {
      this.sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('error', cut);
      socket.on('close', () => {
        this.sockets.delete(socket);
        cut();
      });
    }
    const forward = (bytes: Buffer, to: Socket, verdict: Verdict = 'pass') => {
      if (verdict === 'pass') to.write(bytes);
      else if (verdict === 'cut') cut();
      else to.write(bytes.subarray(0, verdict), cut);
    };
    client.on('data', (bytes) => forward(bytes, server, inspector.fromClient?.(bytes)));
    server.on('data', (bytes) => forward(bytes, client, inspector.fromServer?.(bytes)));
  }
}
