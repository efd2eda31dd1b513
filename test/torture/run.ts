import { setTimeout as sleep } from 'node:timers/promises';
import type { Guard } from '../../sample/servers/guard.js';
import type { Servers } from '../../sample/servers/index.js';
import { until } from '../crash/support/until.js';
import { Dice } from './dice.js';
import { faultNamed } from './faults/catalogue.js';
import type { Scene } from './faults/fault.js';
import { planFaults } from './faults/plan.js';
import { Ground } from './ground/ground.js';
import { Load } from './ground/load.js';
import { Witness } from './ground/witness.js';
import { violationsOf } from './invariants/check.js';
import type { Facts, Violation } from './oracle/facts.js';
import { gather } from './oracle/gather.js';
import type { Options } from './options.js';
import { describeStuck } from './stuck.js';

/** Requests that each process makes when all is over. */
const TAIL = 5;
const TAIL_TIMEOUT = 60_000;
/** A fault that is under way ends by itself; one that does not is a failure of this tool. */
const FAULT_TIMEOUT = 180_000;

export interface RunParts {
  readonly options: Options;
  readonly servers: Servers;
  readonly guard: Guard;
  readonly folder: string;
  readonly library: string;
  readonly event: (line: string) => void;
  readonly show: (state: string) => void;
  readonly signal: AbortSignal;
}

export interface Result {
  readonly facts: Facts;
  readonly violations: readonly Violation[];
  /** How often each fault happened. */
  readonly faults: Readonly<Record<string, number>>;
  readonly produced: number;
  readonly duplicates: number;
  /** Names on the servers, for who looks at what is left there. */
  readonly places: { readonly group: string; readonly database: string };
  /** Puts away what the run has left on the servers. */
  readonly dispose: (options: { keep: boolean }) => Promise<void>;
}

/** Has the service work while things break, heals everything, and judges what came of it. */
export async function run(parts: RunParts): Promise<Result> {
  const { options, event, signal } = parts;
  const witness = new Witness();
  const ground = await Ground.open({ ...parts, onTold: (instance, told) => witness.told(instance, told) });
  const dice = new Dice(options.seed);
  const load = new Load(ground, options, dice.fork('load'), (...call) => witness.called(...call));
  const faults: Record<string, number> = Object.fromEntries(options.faults.map((name) => [name, 0]));
  const stopShowing = showing(parts, ground, load, faults);
  try {
    await load.connect();
    await load.produceVolatile(ground.wave, 20);
    await startAll(ground);
    event(`${options.instances} processes have joined the group ${ground.groupId}`);
    witness.watch(ground);
    signal.throwIfAborted();

    const loaded = load.run();
    loaded.catch(() => undefined);
    await injectFaults({ ground, load, signal }, parts, dice.fork('faults'), faults);
    await loaded;
    const parked = options.parking ? `; ${await ground.parked().catch(() => 'some')} are parked` : '';
    event(`${load.produced} messages and ${load.duplicates} duplicates are produced${parked}; healing`);

    await ground.heal();
    const stuck = await settle(parts, ground);
    if (stuck === undefined) await tailCheck(ground, load, witness, event);
    await witness.stop();
    const lag = await ground.lag();
    event('reading the topics, the effects and the logs');
    const facts = await gather(ground, options, witness, {
      lag,
      stuck,
      unplannedEnds: ground.fleet.unplannedEnds,
    });
    return {
      facts,
      violations: violationsOf(facts),
      faults,
      produced: load.produced,
      duplicates: load.duplicates,
      places: { group: ground.groupId, database: ground.database.name },
      dispose: async (how) => {
        await load.disconnect();
        await ground.dispose(how);
      },
    };
  } catch (error) {
    await witness.stop();
    await load.disconnect().catch(() => undefined);
    await ground.dispose();
    throw error;
  } finally {
    stopShowing();
  }
}

/** @throws with its last words if a process does not come up: nothing is wrong with the servers yet */
async function startAll({ fleet }: Ground): Promise<void> {
  await fleet.complete();
  const failed = fleet.instances.find(({ joined }) => !joined);
  if (failed) throw new Error(`${failed.describe()}:\n${await failed.lastLines(20)}`);
}

/** Resolves when all have happened and everything they broke is healed. */
async function injectFaults(
  scene: Scene,
  { options, event, signal }: RunParts,
  dice: Dice,
  counts: Record<string, number>,
): Promise<void> {
  const began = performance.now();
  const under = new Set<Promise<void>>();
  for (const { name, at, dice: own } of planFaults(options.faults, options.duration, dice)) {
    await sleep(Math.max(0, began + at - performance.now()), undefined, { signal });
    const fault = faultNamed(name)
      .run(scene, own)
      .then(
        (what) => {
          counts[name]!++;
          event(`${name}: ${what}`);
        },
        (error: Error) => event(`${name} could not be brought about: ${error.message.split('\n')[0]}`),
      )
      .finally(() => under.delete(fault));
    under.add(fault);
  }
  await until('faults to end', () => under.size === 0, FAULT_TIMEOUT);
}

/** Resolves when there is no lag, and nothing is parked; with what is to be seen, if nothing moves any more. */
async function settle({ options, event }: RunParts, ground: Ground): Promise<string | undefined> {
  let least = Infinity;
  let effects = 0;
  let since = performance.now();
  for (;;) {
    const lag = await ground.lag().catch(() => Infinity);
    const written = await ground.effects().catch(() => effects);
    const left = lag === 0 ? await ground.parked().catch(() => Infinity) : Infinity;
    if (left === 0) return undefined;
    if (lag < least || written > effects) since = performance.now();
    [least, effects] = [Math.min(lag, least), written];
    if (performance.now() - since > options.patience * 1_000) {
      event(`nothing has moved for ${options.patience} s`);
      return describeStuck(ground);
    }
    await sleep(200);
  }
}

/** The last requests from every process are to be answered. */
async function tailCheck(
  ground: Ground,
  load: Load,
  witness: Witness,
  event: (line: string) => void,
): Promise<void> {
  const ids = ground.fleet.running.flatMap((caller) =>
    Array.from({ length: TAIL }, () => load.call(caller, true)),
  );
  const open = () => {
    const settled = new Set(witness.settlements.map(({ id }) => id));
    return witness.calls.filter(
      ({ id, instance }) => !settled.has(id) && ground.fleet.running.some(({ name }) => name === instance),
    );
  };
  // Earlier ones too: they may wait for their time-out, and no longer.
  await until('all requests to be settled', () => open().length === 0, TAIL_TIMEOUT).catch(() =>
    event(`${open().length} requests were not settled`),
  );
  await until('no lag', async () => (await ground.lag()) === 0, TAIL_TIMEOUT).catch(() => undefined);
  event(`${ids.length} last requests from ${ground.fleet.running.length} processes`);
}

function showing(
  { show, options, event }: RunParts,
  ground: Ground,
  load: Load,
  faults: Record<string, number>,
): () => void {
  let effects = 0;
  let ticks = 0;
  const timer = setInterval(() => {
    void ground.effects().then(
      (count) => (effects = count),
      () => undefined,
    );
    const happened = Object.values(faults).reduce((sum, count) => sum + count, 0);
    const state = `${load.produced} of ${options.messages} produced, ${effects} effects, ${happened} faults, ${ground.fleet.running.length} processes`;
    show(state);
    if (++ticks % 15 === 0) event(state);
  }, 1_000);
  return () => clearInterval(timer);
}
