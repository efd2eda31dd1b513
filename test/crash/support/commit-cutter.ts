import { TcpProxy, type Inspector } from '../../support/tcp-proxy.js';

/** Statements are sent by their names: those by which a group takes its place. */
const CLAIM = /\.(?:claim(?:_new)?(?:_shared)?|move_fence)\./;

/**
 * Stands between services and Postgres, and loses the answer to every so-manieth COMMIT of a group: alternately before
 * Postgres has seen it, and after it took effect. Only so many: each costs a reconnection, and a service whose groups are
 * taken apart by it commits all the more often.
 */
export class CommitCutter {
  /** Connections cut so far. */
  readonly cuts = { before: 0, after: 0 };
  private commits = 0;
  private proxy: TcpProxy | undefined;

  constructor(
    private readonly databaseUrl: string,
    private readonly every: number,
    private readonly atMost: number,
  ) {}

  /** Resolves with the URL to connect by. */
  async start(): Promise<string> {
    const url = new URL(this.databaseUrl);
    this.proxy = await TcpProxy.start({ host: url.hostname, port: Number(url.port) || 5432 }, () =>
      this.inspector(),
    );
    url.hostname = '127.0.0.1';
    url.port = String(this.proxy.port);
    return url.href;
  }

  async close(): Promise<void> {
    await this.proxy?.close();
  }

  private inspector(): Inspector {
    let claimed = false;
    let awaited = false;
    return {
      fromClient: (bytes) => {
        claimed ||= CLAIM.test(bytes.toString('latin1'));
        if (!claimed || !bytes.includes('commit\0')) return 'pass';
        claimed = false;
        this.commits++;
        if (this.commits % this.every !== 0 || this.commits > this.every * this.atMost) return 'pass';
        awaited = (this.commits / this.every) % 2 === 0;
        if (!awaited) this.cuts.before++;
        return awaited ? 'pass' : 'cut';
      },
      fromServer: (bytes) => {
        if (!awaited || !bytes.includes('COMMIT\0')) return 'pass';
        awaited = false;
        this.cuts.after++;
        return 'cut';
      },
    };
  }
}
