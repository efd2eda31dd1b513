/** Program. The demo behind `npm start`: see README.md beside this file. */
import { randomBytes } from 'node:crypto';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Guard } from '../servers/guard.js';
import { startServers } from '../servers/index.js';
import { OptionError } from '../command-line.js';
import type { Transport } from './names.js';
import { help, type Options, parseOptions } from './options.js';
import { Progress } from './progress.js';
import { closingLine, flaws, jsonLine, type Results, table } from './report.js';
import { planScenario } from './scenario.js';
import { runTrial, type TrialResult } from './trial.js';

/** Ctrl-C and its like; the exit code is the shell's convention. */
class Interrupted extends Error {
  constructor(readonly exitCode: number) {
    super('Interrupted.');
  }
}

process.exit(await main());

async function main(): Promise<number> {
  try {
    const options = parseOptions(process.argv.slice(2));
    if (!options.help) return await demo(options);
    process.stdout.write(help);
    return 0;
  } catch (error) {
    if (error instanceof Interrupted) return error.exitCode;
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    return error instanceof OptionError ? 2 : 1;
  }
}

/** Resolves to the exit code, when nothing that was started is left. */
async function demo(options: Options): Promise<number> {
  const started = performance.now();
  const people = options.json ? process.stderr : process.stdout;
  const progress = new Progress(people);
  const interruption = onInterrupt();
  const guard = new Guard();
  const logFolder = mkdtempSync(join(tmpdir(), 'bank-demo-'));
  guard.folder(logFolder);
  let stopServers: (() => Promise<void>) | undefined;

  const both = async (): Promise<Results> => {
    const servers = await startServers({ log: (line) => progress.event(line) });
    stopServers = () => servers.stop();
    interruption.signal.throwIfAborted();
    const { kafka, postgres } = servers.origin;
    progress.event(`Kafka (${kafka}) and Postgres (${postgres}) are ready`);
    const scenario = planScenario(options);
    const run = randomBytes(4).toString('hex');
    const trial = async (transport: Transport, name: string): Promise<TrialResult> => {
      progress.event(`${name}: ${options.transfers} transfers, ${options.kills} kills, seed ${options.seed}`);
      const result = await runTrial({
        transport,
        scenario,
        brokers: servers.brokers,
        databaseUrl: servers.databaseUrl,
        run,
        logFolder,
        guard,
        cleanUp: kafka === 'given' || postgres === 'given',
        event: (line) => progress.event(`  ${line}`),
        show: (state) => progress.show(state),
        signal: interruption.signal,
      });
      progress.close();
      return result;
    };
    const builtIn = await trial('built-in', "Nest's built-in transport");
    return { builtIn, ours: await trial('durable', 'nestjs-durable-kafka') };
  };

  let running: Promise<Results> | undefined;
  let results: Results;
  try {
    running = both();
    results = await Promise.race([running, interruption.happened]);
  } catch (error) {
    progress.close();
    if (error instanceof Interrupted) {
      progress.event('interrupted: everything that was started is being ended');
      await guard.release(); // its processes first: the trial, which waits for them, then comes to its end
      // Servers that are still being started end with this process; waiting could take a download.
      if (stopServers) await running?.catch(() => undefined);
    }
    throw error;
  } finally {
    progress.close();
    await guard.release();
    await stopServers?.();
    interruption.forget();
  }

  const problems = flaws(results.ours, options);
  people.write(`\n${table(results)}\n\n`);
  if (problems.length > 0) process.stderr.write(`Not exactly once: ${problems.join('; ')}.\n`);
  people.write(`${closingLine(results)}\n`);
  if (options.json)
    process.stdout.write(`${jsonLine(results, options, (performance.now() - started) / 1_000)}\n`);
  return problems.length === 0 ? 0 : 1;
}

/** One road to the end for Ctrl-C, `kill`, a closed terminal, and the end of the `npm` that started this process. */
function onInterrupt() {
  const controller = new AbortController();
  let interrupt!: (exitCode: number) => void;
  const happened = new Promise<never>((_, reject) => {
    interrupt = (exitCode) => {
      if (controller.signal.aborted) process.exit(exitCode); // the second Ctrl-C: watchdogs end what is left
      const reason = new Interrupted(exitCode);
      controller.abort(reason);
      reject(reason);
    };
  });
  happened.catch(() => undefined);
  const codes = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;
  const listeners = Object.entries(codes).map(([signal, code]) => {
    const listener = () => interrupt(code);
    process.on(signal, listener);
    return () => process.off(signal, listener);
  });
  const parent = process.ppid;
  const orphaned = setInterval(() => {
    if (process.env['npm_lifecycle_event'] !== undefined && process.ppid !== parent) interrupt(codes.SIGTERM);
  }, 1_000);
  return {
    signal: controller.signal,
    happened,
    forget: () => {
      clearInterval(orphaned);
      for (const off of listeners) off();
    },
  };
}
