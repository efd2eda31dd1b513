import pg from 'pg';

/** Hears of effects when they have committed, from a channel of Postgres. */
export class CommittedEffects {
  private readonly waiting = new Map<number, (at: number) => void>();

  private constructor(private readonly client: pg.Client) {
    client.on('notification', ({ payload }) => {
      const id = Number(payload);
      this.waiting.get(id)?.(performance.now());
      this.waiting.delete(id);
    });
  }

  static async listen(databaseUrl: string, channel: string): Promise<CommittedEffects> {
    const client = new pg.Client(databaseUrl);
    await client.connect();
    const effects = new CommittedEffects(client);
    await client.query(`listen ${channel}`);
    return effects;
  }

  /** Resolves with the time (as `performance.now()`) at which the order's effect was heard of. Ask before it happens. */
  of(id: number): Promise<number> {
    return new Promise((resolve) => this.waiting.set(id, resolve));
  }

  close(): Promise<void> {
    return this.client.end();
  }
}
