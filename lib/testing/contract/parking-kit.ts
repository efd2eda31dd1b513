import type {
  LetterToStore,
  NewSequence,
  ParkingWork,
  Postponement,
} from '../../execution/ledger-parking.js';
import type { Fence, Lane, Ledger } from '../../execution/ledger.js';
import { always, newLane, run, type CurrentWorld } from './ledger-contract-world.js';

export const HOUR = 3_600_000;
export const error = { name: 'TypeError', message: 'no such account' };
export const nameOf = (name: string) => Buffer.from(`k${name}`);

export function letterOf(
  name: string,
  offset: number,
  overrides: Partial<LetterToStore> = {},
): LetterToStore {
  return {
    sequence: nameOf(name),
    offset: BigInt(offset),
    timestamp: 1_700_000_000_000 + offset,
    key: Buffer.from(name),
    value: Buffer.from(`value ${offset}`),
    headers: [['trace', Buffer.from([0, 255])]],
    ...overrides,
  };
}

export function sequenceOf(fence: Fence, name: string, offset: number, overrides: Partial<NewSequence> = {}) {
  const letter = letterOf(name, offset);
  const facts = { failures: 3, age: 60_000, error, retryAfter: 0, maxSequences: 10 };
  return { fence, isShared: false, letter, ...facts, ...overrides };
}

export function postponementOf(
  name: string,
  offset: number,
  overrides: Partial<Postponement> = {},
): Postponement {
  const place = { sequence: nameOf(name), offset: BigInt(offset) };
  return { ...place, retries: 0, failures: 4, error, retryAfter: HOUR, ...overrides };
}

export const due = (ledger: Ledger, { scope, topic, partition }: Lane, limit = 100) =>
  ledger.parking.due(scope.group, topic, partition, limit);

export const offsetsDue = async (ledger: Ledger, lane: Lane) =>
  (await due(ledger, lane)).heads.map(({ offset }) => Number(offset));

/** Appends and removes in a transaction like a group's. */
export function work(ledger: Ledger, parking: ParkingWork) {
  return run(ledger, parking.fence, [], { parking: [parking] });
}

/** A ledger with a lane of its own. */
export async function openLane(current: CurrentWorld) {
  const ledger = await current().openLedger();
  const { fence } = await ledger.takeFence(newLane(), always);
  return { ledger, fence, lane: fence.lane };
}
