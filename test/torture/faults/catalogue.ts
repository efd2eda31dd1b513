import type { Fault } from './fault.js';
import { networkFaults } from './network-faults.js';
import { processFaults } from './process-faults.js';
import { serverFaults } from './server-faults.js';
import { topicFaults } from './topic-faults.js';

const all: readonly Fault[] = [...processFaults, ...networkFaults, ...serverFaults, ...topicFaults];

export function faultNames(): string[] {
  return all.map(({ name }) => name);
}

/** Those of `--faults all`. */
export function defaultFaults(cluster: boolean): string[] {
  return all.filter(({ needsCluster }) => cluster || !needsCluster).map(({ name }) => name);
}

/** @throws for a name that is not in the catalogue */
export function faultNamed(name: string): Fault {
  const fault = all.find((each) => each.name === name);
  if (!fault) throw new Error(`There is no fault "${name}".`);
  return fault;
}

export function describeFaults(): string {
  const width = Math.max(...all.map(({ name }) => name.length));
  return all.map(({ name, about }) => `${name.padEnd(width)}  ${about}\n`).join('');
}
