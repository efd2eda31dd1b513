import { existsSync } from 'node:fs';
import { mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { cached, cacheEntry } from './cache.js';
import type { Guard } from './guard.js';
import type { Java } from './java.js';
import { kafkaProperties } from './kafka-properties.js';
import { run } from './run.js';
import type { Log } from './server.js';
import { which } from './which.js';

export const kafkaVersion = '4.1.1';

const entry = `kafka-${kafkaVersion}`;

// The release takes its log4j binding from outside of the artifact; slf4j-simple writes to the log file and starts faster.
const pom = `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>nestjs-durable-kafka</groupId>
  <artifactId>kafka-jars</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>${kafkaVersion}</version>
    </dependency>
    <dependency>
      <groupId>org.slf4j</groupId>
      <artifactId>slf4j-simple</artifactId>
      <version>1.7.36</version>
    </dependency>
  </dependencies>
</project>
`;

const copyDependencies = 'org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies';

/** Kafka's jars, and a formatted metadata folder to copy from. */
export interface KafkaDistribution {
  /** Every jar by name, in a fixed order: an archive of shared classes is only good for the class path it was made with. */
  classPath: string;
  /** Holds `bootstrap.checkpoint` as Kafka's own tool writes it: the feature levels of a new cluster. */
  formatted: string;
  /** Archive of parsed classes for this JVM; halves the start. May be absent. */
  sharedClasses: string;
}

/** What a download would lack, in words. */
export async function downloadLacks(): Promise<string | undefined> {
  if (cacheEntry(entry).present || (await which('mvn'))) return undefined;
  return `no mvn on the PATH (once, to download Kafka ${kafkaVersion})`;
}

/** Kafka from the cache, downloaded with Maven if it is not there. */
export async function kafkaDistribution(java: Java, guard: Guard, log: Log): Promise<KafkaDistribution> {
  const folder = await cached(entry, guard, async (draft) => {
    log(`Kafka ${kafkaVersion}: downloading about 46 jars, 43 MB (once)…`);
    await writeFile(join(draft, 'pom.xml'), pom);
    const args = [
      '-B',
      '-q',
      copyDependencies,
      '-DincludeScope=runtime',
      `-DoutputDirectory=${join(draft, 'lib')}`,
    ];
    const download = () => run(guard, 'mvn', args, { cwd: draft, timeoutMs: 600_000 });
    // Once more after a failure: Maven's own repository is shared with whatever else runs it at this moment.
    await download().catch(download);
    await format(draft, java, guard);
  });
  return {
    classPath: await classPath(folder),
    formatted: join(folder, 'formatted'),
    sharedClasses: join(folder, `classes-${java.build}.jsa`),
  };
}

/**
 * Makes the archive of shared classes if it is absent: `train` runs a broker with the JVM option it is given, and ends it
 * in an orderly way. Without the archive the broker merely starts slower, so a failure is only reported.
 */
export async function ensureSharedClasses(
  { sharedClasses }: KafkaDistribution,
  log: Log,
  train: (option: string) => Promise<void>,
): Promise<void> {
  if (existsSync(sharedClasses)) return;
  log(`Kafka ${kafkaVersion}: preparing faster starts (once)…`);
  const draft = `${sharedClasses}.${process.pid}`;
  try {
    await train(`-XX:ArchiveClassesAtExit=${draft}`);
    await rename(draft, sharedClasses);
  } catch (error) {
    log(`Kafka ${kafkaVersion}: starts will stay slow (${(error as Error).message.split('\n')[0]})`);
    await rm(draft, { force: true });
  }
}

async function format(draft: string, java: Java, guard: Guard): Promise<void> {
  const formatted = join(draft, 'formatted');
  const properties = join(draft, 'format.properties');
  await mkdir(formatted);
  await writeFile(properties, kafkaProperties(1, [{ broker: 9092, controller: 9093 }], formatted));
  const tool = ['-cp', await classPath(draft), 'kafka.tools.StorageTool', 'format'];
  const clusterId = 'AAAAAAAAAAAAAAAAAAAAAQ'; // replaced in each copy
  await run(guard, java.path, ['-XX:TieredStopAtLevel=1', ...tool, '-t', clusterId, '-c', properties]);
}

async function classPath(folder: string): Promise<string> {
  const jars = (await readdir(join(folder, 'lib'))).filter((name) => name.endsWith('.jar')).sort();
  return jars.map((name) => join(folder, 'lib', name)).join(':');
}
