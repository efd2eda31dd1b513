/** Settings that containers and processes share. */
export const sharedKafkaSettings: Readonly<Record<string, string | number>> = {
  'process.roles': 'broker,controller',
  'node.id': 1,
  'controller.listener.names': 'CONTROLLER',
  'offsets.topic.replication.factor': 1,
  'offsets.topic.num.partitions': 4,
  'transaction.state.log.replication.factor': 1,
  'transaction.state.log.min.isr': 1,
  'transaction.state.log.num.partitions': 4,
  'share.coordinator.state.topic.replication.factor': 1,
  'share.coordinator.state.topic.min.isr': 1,
  'share.coordinator.state.topic.num.partitions': 4,
  'group.initial.rebalance.delay.ms': 0,
  // A killed broker may register again only when the session of its former life is over: 9 s by default.
  'broker.session.timeout.ms': 3000,
  'broker.heartbeat.interval.ms': 500,
  // The default takes a quarter of the heap for compacting topics of a few kilobytes.
  'log.cleaner.dedupe.buffer.size': 8_388_608,
};

/** The properties of a single node that is broker and controller, on the loopback interface only. */
export function kafkaProperties(node: {
  logDir: string;
  brokerPort: number;
  controllerPort: number;
}): string {
  const broker = `PLAINTEXT://127.0.0.1:${node.brokerPort}`;
  const settings = {
    ...sharedKafkaSettings,
    'controller.quorum.voters': `1@127.0.0.1:${node.controllerPort}`,
    listeners: `${broker},CONTROLLER://127.0.0.1:${node.controllerPort}`,
    'advertised.listeners': broker,
    'log.dirs': node.logDir,
  };
  return Object.entries(settings)
    .map(([name, value]) => `${name}=${value}\n`)
    .join('');
}
