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

export interface NodeProperties {
  nodeId: number;
  logDir: string;
  brokerPort: number;
  /** All controllers of the cluster, this node among them. */
  voters: readonly { nodeId: number; port: number }[];
}

/** The properties of a node that is broker and controller, on the loopback interface only. */
export function kafkaProperties({ nodeId, logDir, brokerPort, voters }: NodeProperties): string {
  const broker = `PLAINTEXT://127.0.0.1:${brokerPort}`;
  const controllerPort = voters.find((voter) => voter.nodeId === nodeId)!.port;
  const settings = {
    ...sharedKafkaSettings,
    ...(voters.length > 1 ? replicated(voters.length) : {}),
    'node.id': nodeId,
    'controller.quorum.voters': voters.map((voter) => `${voter.nodeId}@127.0.0.1:${voter.port}`).join(','),
    listeners: `${broker},CONTROLLER://127.0.0.1:${controllerPort}`,
    'advertised.listeners': broker,
    'log.dirs': logDir,
  };
  return Object.entries(settings)
    .map(([name, value]) => `${name}=${value}\n`)
    .join('');
}

/** Whatever a node holds, another one holds too; what is acknowledged by `acks: all` outlives the loss of one of them. */
function replicated(nodes: number): Readonly<Record<string, string | number>> {
  return {
    'offsets.topic.replication.factor': nodes,
    'transaction.state.log.replication.factor': nodes,
    'share.coordinator.state.topic.replication.factor': nodes,
    'default.replication.factor': nodes,
    'min.insync.replicas': 2,
    // How long a follower that died keeps `acks: all` waiting.
    'replica.lag.time.max.ms': 3000,
  };
}
