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

/** The parts of one cluster, as its clients see them. */
export class Cluster {
  readonly broker: Broker;
  readonly topics: TopicStore;
  readonly coordinator: GroupCoordinator;
  readonly faults = new FaultPlan();

  constructor(readonly options: ClusterOptions) {
    this.broker = new Broker(options.clock, options.requestTimeout);
    this.topics = new TopicStore(this.broker, options.defaultPartitions);
    this.coordinator = new GroupCoordinator(this.broker, this.topics);
  }

  get clock(): Clock {
    return this.options.clock;
  }

  get requestTimeout(): number {
    return this.options.requestTimeout;
  }
}
