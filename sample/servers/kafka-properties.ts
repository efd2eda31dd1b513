/** Where a node of a cluster is found. Its id is its place in the list of all nodes, from 1. */
export interface KafkaPorts {
  readonly broker: number;
  readonly controller: number;
}

/** One more way into a node, on the loopback interface, beside the open one. */
export interface KafkaListener {
  /** In capital letters. */
  readonly name: string;
  readonly port: number;
  readonly protocol: 'SSL' | 'SASL_PLAINTEXT' | 'SASL_SSL';
  /** What Kafka's configuration has for it, without the prefix that names the listener. */
  readonly settings: Readonly<Record<string, string | number>>;
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
export function kafkaProperties(
  id: number,
  nodes: readonly KafkaPorts[],
  logDir: string,
  listeners: readonly KafkaListener[] = [],
): string {
  const own = nodes[id - 1]!;
  const brokers = [
    `PLAINTEXT://127.0.0.1:${own.broker}`,
    ...listeners.map(({ name, port }) => `${name}://127.0.0.1:${port}`),
  ].join();
  const protocols = ['PLAINTEXT:PLAINTEXT', 'CONTROLLER:PLAINTEXT'];
  for (const { name, protocol } of listeners) protocols.push(`${name}:${protocol}`);
  const settings = {
    ...kafkaSettings(nodes.length),
    'node.id': id,
    'controller.quorum.voters': nodes.map((node, n) => `${n + 1}@127.0.0.1:${node.controller}`).join(),
    listeners: `${brokers},CONTROLLER://127.0.0.1:${own.controller}`,
    'advertised.listeners': brokers,
    'listener.security.protocol.map': protocols.join(),
    'log.dirs': logDir,
    ...Object.fromEntries(listeners.flatMap(ownSettings)),
  };
  return Object.entries(settings)
    .map(([name, value]) => `${name}=${value}\n`)
    .join('');
}

const ownSettings = ({ name, settings }: KafkaListener) =>
  Object.entries(settings).map(
    ([key, value]) => [`listener.name.${name.toLowerCase()}.${key}`, value] as const,
  );
