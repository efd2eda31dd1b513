import { FailOver } from '../execution/fail-over.js';
import type { LedgerMembers } from '../execution/ledger-members.js';
import type { Clock } from '../runtime/clock.js';
import type { Log } from '../runtime/log.js';
import type { ServerKafka } from '../transport/server-kafka.js';

/** Fast fail-over between the servers of this application and those of others. */
export class ServerWatch {
  private readonly servers = new Set<ServerKafka>();
  private readonly failOver: FailOver;

  /** @param enabled the option `fastFailover` */
  constructor(
    private readonly enabled: boolean,
    members: LedgerMembers,
    clock: Clock,
    log: Log,
  ) {
    const seats = () => [...this.servers].flatMap(({ seat }) => seat ?? []);
    this.failOver = new FailOver(members, seats, clock, log);
  }

  addServer(server: ServerKafka): void {
    this.servers.add(server);
    server.extend({
      beforeStart: () => Promise.resolve(this.failOver.prepare()),
      beforeReading: () => this.failOver.announce(),
    });
  }

  start(): void {
    if (this.enabled) this.failOver.start();
  }

  /** Idempotent; tolerates never-started. */
  stop(): Promise<void> {
    return this.failOver.stop();
  }
}
