import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { kafkaAnswers } from './answers.js';
import type { Guard } from './guard.js';
import type { Java } from './java.js';
import type { KafkaDistribution } from './kafka-distribution.js';
import { kafkaProperties, type KafkaListener, type KafkaPorts } from './kafka-properties.js';
import type { ServerControl } from './server.js';
import { ServerProcess } from './server-process.js';

const startMs = 60_000;

export interface KafkaNodeOptions {
  readonly jvm: Java;
  readonly jvmOptions: readonly string[];
  readonly distribution: KafkaDistribution;
  readonly folder: string;
  readonly guard: Guard;
  /** Its own place among `nodes`, from 1. */
  readonly id: number;
  readonly nodes: readonly KafkaPorts[];
  readonly listeners?: readonly KafkaListener[];
  /** Of a folder that is new; one that an earlier run has left keeps its own. */
  readonly clusterId: string;
}

/** A process that is broker and controller. */
export class KafkaNode implements ServerControl {
  private constructor(
    private readonly process: ServerProcess,
    readonly address: string,
    private readonly clusterId: string,
  ) {}

  /** A new node in the folder, or the one that an earlier run has left there. Starts nothing yet. */
  static async prepare(options: KafkaNodeOptions): Promise<KafkaNode> {
    const { jvm, jvmOptions, distribution, folder, guard, id, nodes } = options;
    const clusterId = await prepareFolder(options);
    const process = new ServerProcess(
      {
        name: nodes.length === 1 ? 'Kafka' : `Kafka node ${id}`,
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
    return new KafkaNode(process, `127.0.0.1:${nodes[id - 1]!.broker}`, clusterId);
  }

  async start(): Promise<void> {
    if (this.process.running) return;
    await this.process.start(async () => {
      // Another run's broker may have won the port; ours then ends by itself.
      if ((await kafkaAnswers([this.address], { groups: true })) !== this.clusterId)
        throw new Error('another cluster answers');
    }, startMs);
  }

  stop(how: 'fast' | 'kill' = 'fast'): Promise<void> {
    return this.process.stop(how);
  }
}

/** Makes or completes the folder of a node and resolves to its cluster id. */
async function prepareFolder(options: KafkaNodeOptions): Promise<string> {
  const { folder, distribution, id, nodes, listeners } = options;
  const logDir = join(folder, 'data');
  const meta = join(logDir, 'meta.properties');
  await mkdir(logDir, { recursive: true });
  await mkdir(join(folder, 'tmp'), { recursive: true });
  await writeFile(join(folder, 'server.properties'), kafkaProperties(id, nodes, logDir, listeners));
  if (!existsSync(meta)) {
    // What `kafka-storage format` does, without a second JVM: the checkpoint as it wrote it, and ids of our own.
    const { formatted } = distribution;
    await copyFile(join(formatted, 'bootstrap.checkpoint'), join(logDir, 'bootstrap.checkpoint'));
    const ids = { 'cluster.id': options.clusterId, 'directory.id': kafkaUuid(), 'node.id': String(id) };
    const text = await readFile(join(formatted, 'meta.properties'), 'utf8');
    await writeFile(
      meta,
      text.replace(
        /^(cluster\.id|directory\.id|node\.id)=.*$/gm,
        (_line, name: keyof typeof ids) => `${name}=${ids[name]}`,
      ),
    );
  }
  const clusterId = /^cluster\.id=(.*)$/m.exec(await readFile(meta, 'utf8'))?.[1];
  if (!clusterId) throw new Error(`${meta} has no cluster.id: remove ${folder} to begin anew.`);
  return clusterId;
}

/** Kafka's text form of a UUID, which may not begin with a dash. */
export function kafkaUuid(): string {
  const bytes = randomBytes(16);
  bytes[0] = bytes[0]! & 0x7f;
  return bytes.toString('base64url');
}
