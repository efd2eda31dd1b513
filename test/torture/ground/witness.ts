import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Call, Sample, Settlement } from '../oracle/facts.js';
import type { Told } from '../service/service-settings.js';
import type { Ground } from './ground.js';

const EVERY = 1_000;
const PAGE = 4_096;

/** Looks at the run from outside while it goes on, and remembers what it saw. */
export class Witness {
  readonly calls: Call[] = [];
  readonly settlements: Settlement[] = [];
  /** The highest of each kind and process. */
  get samples(): Sample[] {
    return [...this.highest.values()];
  }
  private readonly highest = new Map<string, Sample>();
  private readonly watching = new AbortController();
  private watched: Promise<void> = Promise.resolve();

  watch(ground: Ground): void {
    this.watched = this.look(ground);
  }

  async stop(): Promise<void> {
    this.watching.abort();
    await this.watched;
  }

  called(instance: string, id: string, tail: boolean): void {
    this.calls.push({ instance, id, tail });
  }

  told(instance: string, told: Told): void {
    if (told.told !== 'settled') return;
    const { id, value, error } = told;
    this.settlements.push({ instance, id, value, error });
  }

  private async look(ground: Ground): Promise<void> {
    const { signal } = this.watching;
    while (!signal.aborted) {
      for (const { name, pid, running, database } of ground.fleet.running) {
        if (!running || pid === undefined) continue;
        this.see('memory', name, await residentBytes(pid));
        this.see('connections', name, database.connections);
      }
      this.see('transaction', 'the service', await oldestTransaction(ground));
      await sleep(EVERY, undefined, { signal }).catch(() => undefined);
    }
  }

  private see(what: Sample['what'], who: string, value: number): void {
    const name = `${what}/${who}`;
    if (value > (this.highest.get(name)?.value ?? -1)) this.highest.set(name, { what, who, value });
  }
}

async function residentBytes(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/statm`, 'utf8').catch(() => '');
  return Number(text.split(' ')[1] ?? 0) * PAGE;
}

/** Milliseconds that the oldest transaction of the service is open; 0 while the database can't be asked. */
async function oldestTransaction({ pool, database }: Ground): Promise<number> {
  const answer = await pool
    .query<{ age: string | null }>(
      `select extract(epoch from max(clock_timestamp() - xact_start)) * 1000 as age
       from pg_stat_activity where usename = $1`,
      [database.name],
    )
    .catch(() => undefined);
  return Number(answer?.rows[0]?.age ?? 0);
}
