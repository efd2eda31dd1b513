/** Program. The benchmark behind `npm run bench`: see README.md beside this file's source. */
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { OptionError } from '../../sample/command-line.js';
import type * as GuardModule from '../../sample/servers/guard.js';
import type * as ServersModule from '../../sample/servers/index.js';
import { Bed } from './bed.js';
import { costTable } from './cost-table.js';
import { measure } from './measure.js';
import { help, type Options, parseOptions } from './options.js';
import { latencyPicture } from './pictures/latency.js';
import { throughputPicture } from './pictures/throughput.js';
import { asJson, asMarkdown, asText, toRows } from './report.js';
import { surroundings } from './surroundings.js';
import { rowDefinitions } from './targets.js';

process.exit(await main());

async function main(): Promise<number> {
  try {
    const options = parseOptions(process.argv.slice(2));
    if (!options.help) return await bench(options);
    process.stdout.write(help);
    return 0;
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    return error instanceof OptionError ? 2 : 1;
  }
}

/** Resolves to the exit code, when nothing that was started is left. */
async function bench(options: Options): Promise<number> {
  const began = performance.now();
  const people = options.json ? process.stderr : process.stdout;
  const log = (line: string) => {
    const seconds = ((performance.now() - began) / 1_000).toFixed(0).padStart(5);
    people.write(`${seconds} s  ${line}\n`);
  };
  const { Guard } = await compiled<typeof GuardModule>('guard.js');
  const { startServers } = await compiled<typeof ServersModule>('index.js');
  const guard = new Guard();
  const logFolder = mkdtempSync(join(tmpdir(), 'bench-'));
  guard.folder(logFolder);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.once(signal, () => void guard.release().finally(() => process.exit(1)));
  const servers = await startServers({ log });
  let bed: Bed | undefined;
  try {
    const { kafka, postgres } = servers.origin;
    log(`Kafka (${kafka}) and Postgres (${postgres}) are ready`);
    bed = await Bed.open({ brokers: servers.brokers, databaseUrl: servers.databaseUrl, guard, logFolder });
    const definitions = rowDefinitions.filter(({ id }) => options.only.includes(id));
    const scale = {
      seconds: options.seconds,
      quick: options.quick,
      ledgerRows: options.quick ? 10_000 : options.growth === 'full' ? 10_000_000 : 1_000_000,
    };
    const runs = await measure(bed, definitions, options.repeats, scale, log);
    const rows = toRows(definitions, runs);
    people.write(`\n${asText(rows, definitions)}\n`);
    const table = costTable(runs);
    if (table !== undefined) people.write(`${table}\n`);
    if (options.out !== undefined) {
      write(options.out, {
        'results.md': `${asMarkdown(rows, definitions, await surroundings(bed, options))}\n`,
        'costs.md': table && `${table}\n`,
        'throughput.svg': throughputPicture(runs),
        'latency.svg': latencyPicture(runs),
      });
    }
    if (options.json) process.stdout.write(`${asJson(rows)}\n`);
    const unexact = runs.filter(({ variant, flaws }) => variant.startsWith('ours') && flaws.length > 0);
    return unexact.length === 0 ? 0 : 1;
  } finally {
    await bed?.close();
    await guard.release();
    await servers.stop();
  }
}

/** What there is nothing to show for is left out. */
function write(folder: string, files: Readonly<Record<string, string | undefined>>): void {
  mkdirSync(folder, { recursive: true });
  for (const [name, content] of Object.entries(files)) {
    if (content !== undefined) writeFileSync(join(folder, name), content);
  }
}

/** The servers' watchdog is a program that lies beside them, compiled. */
async function compiled<Exports>(file: string): Promise<Exports> {
  return (await import(new URL(`../../../../sample/dist/servers/${file}`, import.meta.url).href)) as Exports;
}
