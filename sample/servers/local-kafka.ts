import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { DataFolder } from './data-folder.js';
import { freePort } from './free-port.js';
import type { Guard } from './guard.js';
import { findJava, type Java } from './java.js';
import { downloadLacks, ensureSharedClasses, kafkaDistribution, kafkaVersion } from './kafka-distribution.js';
import { startKafkaNode, uuid, type KafkaNode, type NodeHost } from './kafka-node.js';
import { onFreePort } from './on-free-port.js';
import type { Log, Way } from './server.js';

/** Kafka on a JVM of this machine. */
export function localKafka({
  guard,
  folder,
  log,
}: {
  guard: Guard;
  folder: DataFolder;
  log: Log;
}): Way<string[]> {
  const java = once(findJava);
  return {
    origin: 'local',
    missing: async () => {
      const found = await java();
      const lacks = [typeof found === 'string' ? found : undefined, await downloadLacks()];
      return lacks.filter(Boolean).join('; ') || undefined;
    },
    start: async () => {
      const jvm = (await java()) as Java;
      const distribution = await kafkaDistribution(jvm, guard, log);
      const own = join(await folder.path(), 'kafka');
      await ensureSharedClasses(distribution, log, async (option) => {
        const training = `${own}-training`;
        const node = await startNode({ jvm, jvmOptions: [option], distribution, folder: training, guard });
        await node.control.stop('fast');
        await rm(training, { recursive: true, force: true });
      });
      log(`Kafka ${kafkaVersion}: starting…`);
      const began = performance.now();
      const jvmOptions = [`-XX:SharedArchiveFile=${distribution.sharedClasses}`];
      const { address, control } = await startNode({ jvm, jvmOptions, distribution, folder: own, guard });
      log(`Kafka ready at ${address} in ${((performance.now() - began) / 1000).toFixed(1)} s`);
      return {
        origin: 'local',
        address: [address],
        control,
        end: (keep) => (keep ? control.stop('fast') : Promise.resolve()),
      };
    },
  };
}

/** The only node of its cluster: a new one in `folder`, or the one that an earlier run has left there. */
function startNode(host: NodeHost): Promise<KafkaNode> {
  return onFreePort(async (brokerPort) =>
    startKafkaNode(host, {
      nodeId: 1,
      voters: [{ nodeId: 1, port: await freePort() }],
      brokerPort,
      clusterId: uuid(),
    }),
  );
}

function once<Value>(make: () => Promise<Value>): () => Promise<Value> {
  let made: Promise<Value> | undefined;
  return () => (made ??= make());
}
