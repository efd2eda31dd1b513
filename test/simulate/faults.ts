import type { InMemoryKafka, InMemoryLedgerStore } from 'nestjs-durable-kafka/testing';
import type { Clock } from '../../lib/runtime/clock.js';
import type { Fleet } from './fleet.js';
import type { PlannedFault } from './plan.js';
import { GROUP } from './service.js';
import type { Trace } from './trace.js';

/** Does what a plan says is to go wrong, and repairs what is temporary. */
export class Faults {
  private readonly heals = new Set<() => void>();

  constructor(
    private readonly kafka: InMemoryKafka,
    private readonly store: InMemoryLedgerStore,
    private readonly fleet: Fleet,
    private readonly clock: Clock,
    private readonly trace: Trace,
  ) {}

  inject(fault: PlannedFault): void {
    switch (fault.kind) {
      case 'crash':
        return this.fleet.crash(fault.instance, fault.restartAfter);
      case 'stop':
        return this.fleet.stop(fault.instance, fault.restartAfter);
      case 'freeze':
        return this.fleet.freeze(fault.instance, fault.lasts);
      case 'cut':
        return this.fleet.cut(fault.instance);
      case 'lose-commit-answer':
        return this.fleet.loseCommitAnswer(fault.instance, fault.stored);
      case 'slow-process': {
        this.fleet.latency[fault.instance] = fault.by;
        return this.healing(`instance ${fault.instance} is slow`, fault.lasts, () => {
          this.fleet.latency[fault.instance] = 0;
        });
      }
      case 'expel': {
        const { memberIds } = this.kafka.group(GROUP);
        const memberId = memberIds[fault.member % Math.max(1, memberIds.length)];
        if (memberId === undefined) return;
        this.trace.add('fault', `the coordinator drops member …${memberId.slice(-6)}`);
        return this.kafka.faults.expel(memberId);
      }
      case 'elect': {
        const { topic } = fault;
        this.trace.add('fault', `partitions of ${topic} get other leaders, which have all records`);
        for (const { partition } of this.kafka.committed(GROUP, topic)) this.kafka.elect(topic, partition);
        return;
      }
      case 'broker-pause':
        this.kafka.faults.pauseBroker();
        return this.healing('the broker stands still', fault.lasts, () => this.kafka.faults.resumeBroker());
      case 'store-down':
        this.store.disconnect();
        return this.healing('the store is down', fault.lasts, () => this.store.reconnect());
      case 'slow-store':
        this.fleet.storeLatency = fault.by;
        return this.healing('the store is slow', fault.lasts, () => (this.fleet.storeLatency = 0));
      case 'fail-produce':
      case 'fail-offset-commit': {
        const { count, stored, kind } = fault;
        const what = kind === 'fail-produce' ? 'records' : 'commits of offsets';
        this.trace.add('fault', `the next ${count} ${what} ${stored ? 'lose their answers' : 'are refused'}`);
        const moment = stored ? 'after' : 'before';
        const { faults } = this.kafka;
        this.heals.add(
          kind === 'fail-produce' ? faults.failProduce(count, moment) : faults.failCommit(count, moment),
        );
        return;
      }
    }
  }

  /** Ends all that has not ended by itself. */
  heal(): void {
    for (const heal of this.heals) heal();
    this.heals.clear();
    this.fleet.thawAll();
  }

  private healing(what: string, lasts: number, heal: () => void): void {
    this.trace.add('fault', `${what} for ${lasts} ms`);
    const once = () => {
      if (!this.heals.delete(once)) return;
      this.trace.add('fault', `no longer: ${what}`);
      heal();
    };
    this.heals.add(once);
    this.clock.setTimeout(once, lasts);
  }
}
