import { join } from 'node:path';
import { Kafka, logLevel } from 'kafkajs';
import { Pool } from 'pg';
import type { Guard } from '../servers/guard.js';
import { BankTopics } from './bank-topics.js';
import { ChildProcess } from './child-process.js';
import { type Count, count } from './count.js';
import { bookedOf, createBank, dropBank, withSearchPath } from './database.js';
import { Fleet } from './fleet.js';
import { namesOf, type Transport } from './names.js';
import { TransferProducer } from './producer.js';
import type { RequestCounts } from './requester.js';
import { Requests } from './requests.js';
import { type Scenario, sessionTimeoutMs } from './scenario.js';
import { toVariables } from './services/variables.js';
import { type Ordeal, Supervisor } from './supervisor.js';

export interface TrialOptions {
  readonly transport: Transport;
  readonly scenario: Scenario;
  readonly brokers: string[];
  readonly databaseUrl: string;
  /** Distinguishes this run from all others on the same servers. Lower-case letters and digits. */
  readonly run: string;
  readonly logFolder: string;
  readonly guard: Guard;
  /** Removes topics and tables afterwards, also after a failure. */
  readonly cleanUp: boolean;
  readonly event: (line: string) => void;
  /** Receives how far it has come. */
  readonly show: (state: string) => void;
  readonly signal: AbortSignal;
}

/** What one service made of the scenario. */
export interface TrialResult extends Count, Ordeal, RequestCounts {
  readonly unplannedEnds: number;
  readonly seconds: number;
}

/** How long answers may still take when the service has read all requests. */
const replyGraceMs = 5_000;

/** Runs the bank on one transport through the whole scenario, and counts. */
export async function runTrial(options: TrialOptions): Promise<TrialResult> {
  const started = performance.now();
  const { transport, scenario, brokers, databaseUrl, run, guard, event, signal, logFolder } = options;
  const names = namesOf(transport, run);
  const kafka = new Kafka({ clientId: 'bank-demo', brokers, logLevel: logLevel.NOTHING });
  const topics = new BankTopics(kafka, names);
  const producer = new TransferProducer(kafka, names.topics.transferRequested);
  const pool = new Pool({ connectionString: databaseUrl, max: 4 });
  pool.on('error', () => undefined); // an idle connection that broke; the next query tells
  const env = toVariables({
    brokers,
    databaseUrl: withSearchPath(databaseUrl, names.bankSchema),
    groupId: names.groupId,
    durableSchema: names.durableSchema,
    suffix: names.suffix,
    sessionTimeoutMs,
  });
  const program = `./services/${transport}.js`;
  const fleet = new Fleet({ name: `${transport} service`, program, env, logFolder, guard, event });
  const log = join(logFolder, `${transport}-requester.log`);
  let requester: ChildProcess | undefined;
  let watching: NodeJS.Timeout | undefined;
  try {
    await Promise.all([topics.connect(), producer.connect(), createBank(pool, names)]);
    await topics.create();
    requester = new ChildProcess({ name: 'requester', program: './requester.js', env, log, guard });
    const requests = new Requests(requester);
    const supervisor = new Supervisor({ names, scenario, fleet, topics, producer, pool, event, signal });
    watching = setInterval(() => {
      bookedOf(pool, names, 1, scenario.transfers).then(
        ({ booked, lines }) => options.show(progressLine(transport, scenario, booked, lines)),
        () => undefined,
      );
    }, 500);

    const all = async () => {
      const [ordeal] = await Promise.all([supervisor.run(), requester!.ready(60_000)]);
      requests.finish();
      await supervisor.drained();
      const answers = await requests.settled(replyGraceMs);
      clearInterval(watching);
      await Promise.all([fleet.stopAll(), requester!.stop(10_000)]);
      return { ...ordeal, ...answers };
    };
    const outcome = await Promise.race([all(), fleet.failed]);
    const counted = await count({ kafka, topics, pool, names }, outcome.rewoundFrom);
    return {
      ...counted,
      ...outcome,
      unplannedEnds: fleet.unplannedEnds,
      seconds: (performance.now() - started) / 1_000,
    };
  } finally {
    clearInterval(watching);
    await Promise.allSettled([fleet.stopAll(), requester?.stop(10_000)]);
    if (options.cleanUp) await Promise.allSettled([topics.delete(), dropBank(databaseUrl, names)]);
    await Promise.allSettled([topics.disconnect(), producer.disconnect(), pool.end()]);
  }
}

function progressLine(transport: Transport, { transfers }: Scenario, booked: number, lines: number): string {
  const width = 20;
  const done = Math.floor((booked / transfers) * width);
  const bar = '█'.repeat(done) + '░'.repeat(width - done);
  return `${transport.padEnd(8)} ${bar} ${booked} of ${transfers} booked, ${lines - booked} too many`;
}
