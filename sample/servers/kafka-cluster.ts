import { join } from 'node:path';
import { DataFolder } from './data-folder.js';
import { freePort } from './free-port.js';
import { Guard } from './guard.js';
import { findJava } from './java.js';
import { downloadLacks, kafkaDistribution } from './kafka-distribution.js';
import { startKafkaNode, uuid } from './kafka-node.js';
import type { Log, ServerControl } from './server.js';

/** Several brokers that replicate everything among them. */
export interface KafkaCluster {
  /** Bootstrap addresses of all nodes. */
  readonly brokers: string[];
  /** @param nodeId from 1 */
  node(nodeId: number): ServerControl;
  /** Ends all nodes and removes their data. Idempotent. */
  stop(): Promise<void>;
}

/**
 * Starts a cluster of `size` nodes (three survive the loss of one) on JVMs of this machine, whatever `KAFKA_BROKERS` says:
 * its nodes are there to be killed. They end with this process however it ends. Rejects, with nothing left behind, if
 * that is not possible.
 */
export async function startKafkaCluster(size = 3, log: Log = () => undefined): Promise<KafkaCluster> {
  const jvm = await findJava();
  if (typeof jvm === 'string')
    throw new Error(`A cluster of Kafka nodes needs Java on this machine: ${jvm}.`);
  const lacks = await downloadLacks();
  if (lacks !== undefined) throw new Error(`A cluster of Kafka nodes needs Kafka on this machine: ${lacks}.`);
  const guard = new Guard();
  let stopping: Promise<void> | undefined;
  const stop = () => (stopping ??= guard.release());
  try {
    const distribution = await kafkaDistribution(jvm, guard, log);
    const folder = await new DataFolder(guard, false, undefined).path();
    const ids = Array.from({ length: size }, (_, index) => index + 1);
    const voters = await Promise.all(ids.map(async (nodeId) => ({ nodeId, port: await freePort() })));
    const clusterId = uuid();
    // At once: none of them answers before most of them are there.
    const nodes = await Promise.all(
      ids.map(async (nodeId) =>
        startKafkaNode(
          {
            ...{ jvm, distribution, guard, folder: join(folder, `kafka-${nodeId}`) },
            jvmOptions: [`-XX:SharedArchiveFile=${distribution.sharedClasses}`, '-Xms64m', '-Xmx256m'],
          },
          { nodeId, voters, clusterId, brokerPort: await freePort() },
        ),
      ),
    );
    return {
      brokers: nodes.map(({ address }) => address),
      node: (nodeId) => nodes[nodeId - 1]!.control,
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}
