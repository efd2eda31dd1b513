import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { copyFile, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { kafkaAnswers } from './answers.js';
import type { DataFolder } from './data-folder.js';
import { freePort } from './free-port.js';
import type { Guard } from './guard.js';
import { findJava, type Java } from './java.js';
import {
  downloadLacks,
  ensureSharedClasses,
  kafkaDistribution,
  kafkaVersion,
  type KafkaDistribution,
} from './kafka-distribution.js';
import { kafkaProperties } from './kafka-properties.js';
import { onFreePort } from './on-free-port.js';
import type { Log, Way } from './server.js';
import { ServerProcess } from './server-process.js';

const startMs = 60_000;

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
        await node.process.stop('fast');
        await rm(training, { recursive: true, force: true });
      });
      log(`Kafka ${kafkaVersion}: starting…`);
      const began = performance.now();
      const jvmOptions = [`-XX:SharedArchiveFile=${distribution.sharedClasses}`];
      const { process, address, answers } = await startNode({
        jvm,
        jvmOptions,
        distribution,
        folder: own,
        guard,
      });
      log(`Kafka ready at ${address} in ${((performance.now() - began) / 1000).toFixed(1)} s`);
      return {
        origin: 'local',
        address: [address],
        control: {
          stop: (how = 'fast') => process.stop(how),
          start: async () => {
            if (!process.running) await process.start(answers, startMs);
          },
        },
        end: (keep) => (keep ? process.stop('fast') : Promise.resolve()),
      };
    },
  };
}

interface Node {
  process: ServerProcess;
  address: string;
  answers: () => Promise<void>;
}

/** A new node in `folder`, or the one that an earlier run has left there. */
function startNode(options: {
  jvm: Java;
  jvmOptions: string[];
  distribution: KafkaDistribution;
  folder: string;
  guard: Guard;
}): Promise<Node> {
  const { jvm, jvmOptions, distribution, folder, guard } = options;
  return onFreePort(async (brokerPort) => {
    const clusterId = await prepare(folder, distribution, { brokerPort, controllerPort: await freePort() });
    const process = new ServerProcess(
      {
        name: 'Kafka',
        file: jvm.path,
        args: [
          '-Xms128m',
          '-Xmx512m',
          '-Xshare:auto',
          '-Xlog:cds=off',
          ...jvmOptions,
          '-XX:-UsePerfData', // leaves a file in the system's temporary folder when killed
          `-Djava.io.tmpdir=${join(folder, 'tmp')}`, // so do the compression libraries
          '-Djava.awt.headless=true',
          '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn',
          '-Dorg.slf4j.simpleLogger.showDateTime=true',
          '-cp',
          distribution.classPath,
          'kafka.Kafka',
          join(folder, 'server.properties'),
        ],
        env: globalThis.process.env,
        cwd: folder,
        logFile: join(folder, 'server.log'),
        fast: 'SIGTERM',
        kill: 'SIGKILL',
      },
      guard,
    );
    const address = `127.0.0.1:${brokerPort}`;
    const answers = async () => {
      // Another run's broker may have won the port; ours then ends by itself.
      if ((await kafkaAnswers([address], { groups: true })) !== clusterId)
        throw new Error('another cluster answers');
    };
    await process.start(answers, startMs);
    return { process, address, answers };
  });
}

/** Makes or completes the folder of a node and resolves to its cluster id. */
async function prepare(
  folder: string,
  { formatted }: KafkaDistribution,
  ports: { brokerPort: number; controllerPort: number },
): Promise<string> {
  const logDir = join(folder, 'data');
  const meta = join(logDir, 'meta.properties');
  await mkdir(logDir, { recursive: true });
  await mkdir(join(folder, 'tmp'), { recursive: true });
  await writeFile(join(folder, 'server.properties'), kafkaProperties({ logDir, ...ports }));
  if (!existsSync(meta)) {
    // What `kafka-storage format` does, without a second JVM: the checkpoint as it wrote it, and ids of our own.
    await copyFile(join(formatted, 'bootstrap.checkpoint'), join(logDir, 'bootstrap.checkpoint'));
    const ids = { 'cluster.id': uuid(), 'directory.id': uuid() };
    const text = await readFile(join(formatted, 'meta.properties'), 'utf8');
    await writeFile(
      meta,
      text.replace(
        /^(cluster\.id|directory\.id)=.*$/gm,
        (_line, name: keyof typeof ids) => `${name}=${ids[name]}`,
      ),
    );
  }
  const clusterId = /^cluster\.id=(.*)$/m.exec(await readFile(meta, 'utf8'))?.[1];
  if (!clusterId) throw new Error(`${meta} has no cluster.id: remove ${folder} to begin anew.`);
  return clusterId;
}

/** Kafka's text form of a UUID, which may not begin with a dash. */
function uuid(): string {
  const bytes = randomBytes(16);
  bytes[0] = bytes[0]! & 0x7f;
  return bytes.toString('base64url');
}

function once<Value>(make: () => Promise<Value>): () => Promise<Value> {
  let made: Promise<Value> | undefined;
  return () => (made ??= make());
}
