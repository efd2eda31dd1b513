import { writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { DriverConsumer, DriverProducer, KafkaDriver } from '../../../lib/driver/driver.js';
import type { LaneClaim, Ledger, LedgerTransaction } from '../../../lib/execution/ledger.js';
import type { FailPoint, Place, ServiceTopics } from './service-settings.js';

/** How long a process that was stopped takes to hear that its partitions are somebody else's, ms. */
const LATE_NEWS = 1_500;

/** A line for the test that started this process; written at once, a signal may follow. */
export function tell(line: string): void {
  writeSync(1, `\n@${line}\n`);
}

/** Ends, stops or holds the process where its calls to the ledger and the driver come by. */
export class FailPoints {
  private count = 0;
  private stopped = false;

  constructor(
    private point: FailPoint | undefined,
    private readonly topics: ServiceTopics,
  ) {}

  /** From now on it is this point that counts, or none. */
  arm(point: FailPoint | undefined): void {
    this.point = point;
    this.count = 0;
  }

  reach(place: Place, topic: string): Promise<void> | undefined {
    const { point } = this;
    if (point?.place !== place || this.topics[point.on] !== topic || ++this.count !== point.nth)
      return undefined;
    tell(point.place);
    if (point.action === 'pause') return continued();
    this.stopped = true;
    process.kill(process.pid, point.action === 'kill' ? 'SIGKILL' : 'SIGSTOP');
    return undefined;
  }

  ledger(ledger: Ledger): Ledger {
    return overriding(ledger, {
      transaction: () => this.transaction(ledger.transaction()),
      claims: overriding(ledger.claims, {
        claim: async (lane, executions, lease) => {
          const { topic } = lane.fence.lane;
          await this.reach('before-work', topic);
          await this.reach('before-claim', topic);
          const verdicts = await ledger.claims.claim(lane, executions, lease);
          await this.reach('after-claim', topic);
          return verdicts;
        },
        complete: async (completion) => {
          const lost = await ledger.claims.complete(completion);
          await this.reach('after-commit', completion.fence.lane.topic);
          return lost;
        },
      }),
      conclude: async (conclusion) => {
        const { topic } = conclusion.fence.lane;
        await this.reach('before-ending', topic);
        const known = await ledger.conclude(conclusion);
        await this.reach('after-ending', topic);
        return known;
      },
      failures: overriding(ledger.failures, {
        note: async (lane, note) => {
          await ledger.failures.note(lane, note);
          await this.reach('after-failure', lane.lane.topic);
        },
      }),
      redrives: overriding(ledger.redrives, {
        redriveLetters: async (letters, dryRun) => {
          await this.reach('before-redrive', this.topics.events);
          const verdicts = await ledger.redrives.redriveLetters(letters, dryRun);
          await this.reach('after-redrive', this.topics.events);
          return verdicts;
        },
      }),
      parking: overriding(ledger.parking, {
        park: async (parked) => {
          await this.reach('before-parking', parked.fence.lane.topic);
          await ledger.parking.park(parked);
          await this.reach('after-parking', parked.fence.lane.topic);
        },
        postpone: async (lane, postponement) => {
          await ledger.parking.postpone(lane, postponement);
          await this.reach('after-postponing', lane.topic);
        },
      }),
      // Only events emit: what is noted is theirs.
      markDispatched: (ids) => {
        void this.reach('after-ack', this.topics.events);
        ledger.markDispatched(ids);
      },
    });
  }

  driver(driver: KafkaDriver): KafkaDriver {
    return overriding(driver, {
      createConsumer: (options) => this.consumer(driver.createConsumer(options)),
      createProducer: (options) => this.producer(driver.createProducer(options)),
    });
  }

  private transaction(transaction: LedgerTransaction): LedgerTransaction {
    const topics = new Set<string>();
    const reachFor = async (place: Place) => {
      for (const topic of topics) await this.reach(place, topic);
    };
    return overriding(transaction, {
      claim: async (claim: LaneClaim) => {
        if (topics.size === 0) await this.reach('before-work', claim.fence.lane.topic);
        topics.add(claim.fence.lane.topic);
        await reachFor('before-claim');
        const verdicts = await transaction.claim(claim);
        await reachFor('after-claim');
        return verdicts;
      },
      commit: async (work) => {
        await transaction.commit(work);
        await reachFor('after-commit');
      },
    });
  }

  private consumer(consumer: DriverConsumer): DriverConsumer {
    return overriding(consumer, {
      start: (listener) =>
        consumer.start(
          overriding(listener, {
            onRevoked: async (partitions, reason) => {
              // A zombie's work and the news of its expulsion race: here the news always loses, and only the fence is left.
              if (this.stopped) await sleep(LATE_NEWS);
              this.stopped = false;
              await listener.onRevoked(partitions, reason);
            },
          }),
        ),
      commit: async (offsets) => {
        for (const topic of new Set(offsets.map((offset) => offset.topic))) {
          await this.reach('before-offset-commit', topic);
        }
        await consumer.commit(offsets);
      },
    });
  }

  private producer(producer: DriverProducer): DriverProducer {
    return overriding(producer, {
      send: async (record) => {
        const metadata = await producer.send(record);
        if (record.topic === `${this.topics.events}.dlt`)
          await this.reach('after-letter', this.topics.events);
        if (record.topic === `${this.topics.requests}.reply`)
          await this.reach('after-ack', this.topics.requests);
        return metadata;
      },
    });
  }
}

function continued(): Promise<void> {
  return new Promise((resolve) => {
    const listen = (message: unknown) => {
      if (message !== 'continue') return;
      process.off('message', listen);
      resolve();
    };
    process.on('message', listen);
  });
}

/** `target` with some of its members replaced. */
function overriding<T extends object>(target: T, members: Partial<T>): T {
  return new Proxy(target, {
    get(_target, name) {
      if (Object.hasOwn(members, name)) return Reflect.get(members, name) as unknown;
      const member: unknown = Reflect.get(target, name, target);
      return typeof member === 'function' ? (member.bind(target) as unknown) : member;
    },
  });
}
