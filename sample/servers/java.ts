import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { isExecutable, which } from './which.js';

/** What Kafka 4 brokers ask for. */
const oldest = 17;

export interface Java {
  path: string;
  /** Differs for each build of the JVM: what was prepared for one is of no use to another. */
  build: string;
}

/** The JVM in `JAVA_HOME`, else on the PATH; or what is wrong with it, in words. */
export async function findJava(): Promise<Java | string> {
  const home = process.env['JAVA_HOME'];
  const fromHome = home ? join(home, 'bin', 'java') : undefined;
  const path = fromHome && (await isExecutable(fromHome)) ? fromHome : await which('java');
  if (!path) return `no java (${oldest} or later) in JAVA_HOME or on the PATH`;
  try {
    const { stdout, stderr } = await promisify(execFile)(path, ['-version'], { timeout: 10_000 });
    const text = stdout + stderr;
    const major = Number(/version "(?:1\.)?(\d+)/.exec(text)?.[1]);
    if (!(major >= oldest))
      return `${path} is Java ${major || 'of unknown version'}, ${oldest} or later is needed`;
    return { path, build: `${major}-${createHash('sha256').update(text).digest('hex').slice(0, 12)}` };
  } catch {
    return `${path} does not run`;
  }
}
