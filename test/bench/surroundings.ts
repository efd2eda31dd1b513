import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { cpus, totalmem } from 'node:os';
import { join } from 'node:path';
import type { Bed } from './bed.js';
import type { Options } from './options.js';

const GIGABYTE = 1024 ** 3;
/** Of the compiled file: the peers' packages are where their sources are. */
const peers = createRequire(new URL('../../../bench/peers/package.json', import.meta.url));
const own = createRequire(import.meta.url);

/** Where and with what a table was measured, one fact each. */
export async function surroundings(bed: Bed, options: Options): Promise<string[]> {
  const [cpu] = cpus();
  const { rows } = await bed.pool.query<{ version: string }>(
    `select current_setting('server_version') as version`,
  );
  return [
    new Date().toISOString().slice(0, 10),
    `${cpus().length} × ${cpu?.model.trim() ?? 'unknown processor'}, ${Math.round(totalmem() / GIGABYTE)} GB, servers and services together`,
    `Node.js ${process.version}, Postgres ${rows[0]!.version}`,
    [
      version(own, '@nestjs/microservices'),
      version(own, 'pg'),
      version(own, 'kafkajs'),
      version(peers, '@dbos-inc/kafkajs-receive'),
    ].join(', '),
    `medians of ${options.repeats} runs of about ${options.seconds} s; spread: (most - least) / median of ours`,
  ];
}

/** Read from the folder: not every package exports its `package.json`. */
function version(from: NodeJS.Require, name: string): string {
  const files = (from.resolve.paths(name) ?? []).map((folder) => join(folder, name, 'package.json'));
  const file = files.find((candidate) => existsSync(candidate));
  if (file === undefined) return `${name} not installed`;
  return `${name} ${(JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version}`;
}
