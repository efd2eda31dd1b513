import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { kafkaAnswers } from './answers.js';
import type { DataFolder } from './data-folder.js';
import { freePort } from './free-port.js';
import type { Guard } from './guard.js';
import { findJava, type Java } from './java.js';
import { downloadLacks, ensureSharedClasses, kafkaDistribution, kafkaVersion } from './kafka-distribution.js';
import { KafkaNode, type KafkaNodeOptions, kafkaUuid } from './kafka-node.js';
import { onFreePort } from './on-free-port.js';
import type { KafkaListener } from './kafka-properties.js';
import type { Log, Way } from './server.js';
import { waitFor } from './wait-for.js';

const wholeMs = 60_000;

/** Kafka on JVMs of this machine: one node, or a cluster of several. */
export function localKafka(options: {
  guard: Guard;
  folder: DataFolder;
  log: Log;
  nodes: number;
  listeners: readonly KafkaListener[];
}): Way<string[]> {
  const { guard, folder, log } = options;
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
      const base = { jvm, distribution, guard };
      await ensureSharedClasses(distribution, log, async (option) => {
        const training = `${own}-training`;
        const [node] = await startNodes({ ...base, jvmOptions: [option] }, [training]);
        await node!.stop();
        await rm(training, { recursive: true, force: true });
      });
      log(`Kafka ${kafkaVersion}: starting…`);
      const began = performance.now();
      const jvmOptions = [`-XX:SharedArchiveFile=${distribution.sharedClasses}`];
      const folders =
        options.nodes === 1
          ? [own]
          : Array.from({ length: options.nodes }, (_, index) => `${own}-${index + 1}`);
      const nodes = await startNodes({ ...base, jvmOptions, listeners: options.listeners }, folders);
      const address = nodes.map((node) => node.address);
      const seconds = ((performance.now() - began) / 1000).toFixed(1);
      log(`Kafka ready at ${address.join(', ')} in ${seconds} s`);
      const all = async (what: (node: KafkaNode) => Promise<void>) =>
        void (await Promise.all(nodes.map(what)));
      return {
        origin: 'local',
        address,
        control: { stop: (how) => all((node) => node.stop(how)), start: () => all((node) => node.start()) },
        ...(nodes.length > 1 ? { nodes } : {}),
        // In an orderly end the last nodes of a cluster would wait for a majority that is gone; killed ones lose nothing.
        end: (keep) =>
          keep ? all((node) => node.stop(nodes.length === 1 ? 'fast' : 'kill')) : Promise.resolve(),
      };
    },
  };
}

/** A cluster of as many nodes as there are folders; resolves when each answers. */
function startNodes(
  base: Pick<KafkaNodeOptions, 'jvm' | 'jvmOptions' | 'distribution' | 'guard' | 'listeners'>,
  folders: readonly string[],
): Promise<KafkaNode[]> {
  return onFreePort(async (first) => {
    const ports: { broker: number; controller: number }[] = [];
    for (const index of folders.keys()) {
      ports.push({ broker: index === 0 ? first : await freePort(), controller: await freePort() });
    }
    const clusterId = kafkaUuid();
    const nodes = await Promise.all(
      folders.map((folder, index) =>
        KafkaNode.prepare({ ...base, folder, id: index + 1, nodes: ports, clusterId }),
      ),
    );
    const started = await Promise.allSettled(nodes.map((node) => node.start()));
    const failed = started.find((result) => result.status === 'rejected');
    try {
      if (failed) throw failed.reason;
      await Promise.all(nodes.map((node) => knowsAll(node, nodes.length)));
      return nodes;
    } catch (error) {
      await Promise.all(nodes.map((node) => node.stop('kill')));
      throw error;
    }
  });
}

/** Any of them may be asked to create a topic that all are to hold. */
async function knowsAll({ address }: KafkaNode, nodes: number): Promise<void> {
  await waitFor(() => kafkaAnswers([address], { nodes }), {
    what: 'the cluster is not whole',
    timeoutMs: wholeMs,
  });
}

function once<Value>(make: () => Promise<Value>): () => Promise<Value> {
  let made: Promise<Value> | undefined;
  return () => (made ??= make());
}
