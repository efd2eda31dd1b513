import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { kafkaAnswers } from './answers.js';
import type { Guard } from './guard.js';
import type { Java } from './java.js';
import type { KafkaDistribution } from './kafka-distribution.js';
import { kafkaProperties, type NodeProperties } from './kafka-properties.js';
import type { ServerControl } from './server.js';
import { ServerProcess } from './server-process.js';

const startMs = 60_000;

/** What a node runs on. */
export interface NodeHost {
  jvm: Java;
  jvmOptions: string[];
  distribution: KafkaDistribution;
  /** Of this node alone. */
  folder: string;
  guard: Guard;
}

export interface KafkaNode {
  address: string;
  control: ServerControl;
}

/** Starts a node in its folder and resolves when it answers. A folder that an earlier run has left keeps its cluster id. */
export async function startKafkaNode(
  { jvm, jvmOptions, distribution, folder, guard }: NodeHost,
  properties: Omit<NodeProperties, 'logDir'> & { clusterId: string },
): Promise<KafkaNode> {
  const clusterId = await prepare(folder, distribution, properties);
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
  const address = `127.0.0.1:${properties.brokerPort}`;
  const answers = async () => {
    // Another run's broker may have won the port; ours then ends by itself.
    if ((await kafkaAnswers([address], { groups: true })) !== clusterId)
      throw new Error('another cluster answers');
  };
  await process.start(answers, startMs);
  return {
    address,
    control: {
      stop: (how = 'fast') => process.stop(how),
      start: async () => {
        if (!process.running) await process.start(answers, startMs);
      },
    },
  };
}

/** Makes or completes the folder of a node and resolves to its cluster id. */
async function prepare(
  folder: string,
  { formatted }: KafkaDistribution,
  { clusterId, ...properties }: Omit<NodeProperties, 'logDir'> & { clusterId: string },
): Promise<string> {
  const logDir = join(folder, 'data');
  const meta = join(logDir, 'meta.properties');
  await mkdir(logDir, { recursive: true });
  await mkdir(join(folder, 'tmp'), { recursive: true });
  await writeFile(join(folder, 'server.properties'), kafkaProperties({ logDir, ...properties }));
  if (!existsSync(meta)) {
    // What `kafka-storage format` does, without a second JVM: the checkpoint as it wrote it, and ids of our own.
    await copyFile(join(formatted, 'bootstrap.checkpoint'), join(logDir, 'bootstrap.checkpoint'));
    const ids = { 'cluster.id': clusterId, 'directory.id': uuid(), 'node.id': properties.nodeId };
    const text = await readFile(join(formatted, 'meta.properties'), 'utf8');
    await writeFile(
      meta,
      text.replace(
        /^(cluster\.id|directory\.id|node\.id)=.*$/gm,
        (_line, name: keyof typeof ids) => `${name}=${ids[name]}`,
      ),
    );
  }
  const found = /^cluster\.id=(.*)$/m.exec(await readFile(meta, 'utf8'))?.[1];
  if (!found) throw new Error(`${meta} has no cluster.id: remove ${folder} to begin anew.`);
  return found;
}

/** Kafka's text form of a UUID, which may not begin with a dash. */
export function uuid(): string {
  const bytes = randomBytes(16);
  bytes[0] = bytes[0]! & 0x7f;
  return bytes.toString('base64url');
}
