import { InMemoryLedger, type InMemoryLedgerStore } from 'nestjs-durable-kafka/testing';
import type { Clock } from '../../lib/runtime/clock.js';
import type { ParkedRecord } from './evidence.js';
import type { HandlerName, PlannedOrder, Topic } from './plan.js';
import type { Trace } from './trace.js';

/** Virtual milliseconds between two looks at what is held. */
const TENDING = 3_000;

/** Looks after what is parked, from outside of the service. */
export class Operator {
  /** Records that may end without their handler, because it said so. */
  readonly ordered: ParkedRecord[] = [];
  private readonly ledger: InMemoryLedger;

  constructor(
    private readonly store: InMemoryLedgerStore,
    private readonly clock: Clock,
    private readonly trace: Trace,
  ) {
    this.ledger = new InMemoryLedger({ store, clock });
  }

  /** Does it once; a store that is away takes no orders. */
  obey({ what, sequence }: PlannedOrder): void {
    const ids = [...this.store.parked.values()].map(({ id }) => id);
    const id = ids[sequence % Math.max(1, ids.length)];
    if (id === undefined) return;
    this.trace.add('operator', `wants to ${what} sequence ${id}`);
    const { parking } = this.ledger;
    const order = async () => {
      await this.ledger.open();
      if (what === 'retry') return void (await parking.retry({ id }));
      this.note(id);
      const state = what === 'skip' ? 'skipped' : 'dead';
      await parking.order(id, { state, reason: 'ordered' }, what === 'drop-all');
      this.note(id);
    };
    void order().catch((error: Error) => this.cannot(error));
  }

  /** From now on has sequences tried again that are held, every now and then. */
  tend(): void {
    const { parking } = this.ledger;
    const look = async () => {
      await this.ledger.open();
      for (const { id, state } of await parking.list({}, Infinity, undefined)) {
        if (state === 'waiting') continue;
        this.trace.add('operator', `has sequence ${id} tried again`);
        await parking.retry({ id });
      }
    };
    const again = () =>
      void look().then(
        () => this.clock.setTimeout(again, TENDING),
        (error: Error) => this.cannot(error),
      );
    again();
  }

  private cannot(error: Error): void {
    this.trace.add('operator', `cannot do that: ${error.message}`);
  }

  /** What is in a sequence now may end as it was ordered. */
  private note(id: string): void {
    const parked = [...this.store.parked.values()].find((each) => each.id === id);
    if (!parked) return;
    const { lane, letters } = parked;
    for (const offset of letters.keys()) {
      this.ordered.push({
        handler: lane.scope.handler as HandlerName,
        topic: lane.topic as Topic,
        partition: lane.partition,
        offset: Number(offset),
      });
    }
  }
}
