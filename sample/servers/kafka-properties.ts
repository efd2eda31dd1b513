/** Where a node of a cluster is found. Its id is its place in the list of all nodes, from 1. */
export interface KafkaPorts {
  readonly broker: number;
  readonly controller: number;
}

/** Settings that containers and processes share, for so many nodes. */
export function kafkaSettings(nodes: number): Record<string, string | number> {
  const replicas = Math.min(nodes, 3);
  const inSync = Math.max(1, replicas - 1);
  return {
    'process.roles': 'broker,controller',
    'controller.listener.names': 'CONTROLLER',
    'default.replication.factor': replicas,
    'min.insync.replicas': inSync,
    'offsets.topic.replication.factor': replicas,
    'offsets.topic.num.partitions': 4,
    'transaction.state.log.replication.factor': replicas,
    'transaction.state.log.min.isr': inSync,
    'transaction.state.log.num.partitions': 4,
    'share.coordinator.state.topic.replication.factor': replicas,
    'share.coordinator.state.topic.min.isr': inSync,
    'share.coordinator.state.topic.num.partitions': 4,
    'group.initial.rebalance.delay.ms': 0,
    // How long a follower that died keeps `acks: all` waiting.
    'replica.lag.time.max.ms': 3000,
    // A killed broker may register again only when the session of its former life is over: 9 s by default.
    'broker.session.timeout.ms': 3000,
    'broker.heartbeat.interval.ms': 500,
    // The default takes a quarter of the heap for compacting topics of a few kilobytes.
    'log.cleaner.dedupe.buffer.size': 8_388_608,
  };
}

/** The properties of one of these nodes, each broker and controller, on the loopback interface only. */
export function kafkaProperties(id: number, nodes: readonly KafkaPorts[], logDir: string): string {
  const own = nodes[id - 1]!;
  const broker = `PLAINTEXT://127.0.0.1:${own.broker}`;
  const settings = {
    ...kafkaSettings(nodes.length),
    'node.id': id,
    'controller.quorum.voters': nodes.map((node, n) => `${n + 1}@127.0.0.1:${node.controller}`).join(),
    listeners: `${broker},CONTROLLER://127.0.0.1:${own.controller}`,
    'advertised.listeners': broker,
    'log.dirs': logDir,
  };
  return Object.entries(settings)
    .map(([name, value]) => `${name}=${value}\n`)
    .join('');
}
