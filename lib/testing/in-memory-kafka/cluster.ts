import type { Clock } from '../../runtime/clock.js';
import { Broker } from './broker.js';
import { FaultPlan } from './faults.js';
import { GroupCoordinator } from './group-coordinator.js';
import { TopicStore } from './topic-store.js';

export interface ClusterOptions {
  readonly clock: Clock;
  readonly autoCreateTopics: boolean;
  readonly defaultPartitions: number;
  readonly maxRecordBytes: number;
  readonly requestTimeout: number;
}

/** The parts of one cluster, as the clients of one process see them. */
export class Cluster {
  readonly broker: Broker;
  readonly topics: TopicStore;
  readonly coordinator: GroupCoordinator;
  readonly faults: FaultPlan;

  /** @param clock of the process; the broker goes by the one in the options. */
  private constructor(
    readonly options: ClusterOptions,
    readonly clock: Clock,
    parts?: Pick<Cluster, 'broker' | 'topics' | 'coordinator' | 'faults'>,
  ) {
    this.broker = parts?.broker ?? new Broker(options.clock, options.requestTimeout);
    this.topics = parts?.topics ?? new TopicStore(this.broker, options.defaultPartitions);
    this.coordinator = parts?.coordinator ?? new GroupCoordinator(this.broker, this.topics);
    this.faults = parts?.faults ?? new FaultPlan();
  }

  static create(options: ClusterOptions): Cluster {
    return new Cluster(options, options.clock);
  }

  /** The same cluster, for a process with a clock of its own. */
  seenBy(clock: Clock): Cluster {
    return new Cluster(this.options, clock, this);
  }

  get requestTimeout(): number {
    return this.options.requestTimeout;
  }
}
