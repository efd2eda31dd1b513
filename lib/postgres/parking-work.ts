import { FencedError } from '../errors/errors.js';
import type { LetterPlace, LetterToStore, ParkingWork } from '../execution/ledger-parking.js';
import type { Lane } from '../execution/ledger.js';
import { packedContents } from './packed-contents.js';
import { byteaArray, plainArray, type Parameter } from './parameters.js';
import type { ScopeIds } from './scope-ids.js';
import type { Call } from './session.js';
import type { Statements } from './statements.js';

/** The statements of what a transaction does with letters; none for none. */
export async function storeParking(
  parking: readonly ParkingWork[],
  statements: Statements,
  scopes: ScopeIds,
): Promise<Call[]> {
  const calls: Call[] = [];
  for (const { fence, appended, removed } of parking) {
    const position = await lanePosition(fence.lane, scopes);
    calls.push(...lettersAdded(appended, position, statements));
    for (const place of removed) calls.push(...letterRemoved(place, position, statements));
  }
  return calls;
}

export function lettersAdded(
  letters: readonly LetterToStore[],
  position: readonly Parameter[],
  statements: Statements,
): Call[] {
  if (letters.length === 0) return [];
  const sequences = byteaArray(letters.map(({ sequence }) => sequence));
  return [
    [statements.lockParked, [...position, sequences]],
    [
      statements.addLetters,
      [
        ...position,
        sequences,
        plainArray(letters.map(({ offset }) => offset)),
        plainArray(letters.map(({ timestamp }) => timestamp)),
        ...packedContents(letters),
      ],
    ],
  ];
}

export function letterRemoved(
  { sequence, offset }: LetterPlace,
  position: readonly Parameter[],
  statements: Statements,
): Call[] {
  return [
    [statements.lockParked, [...position, byteaArray([sequence])]],
    [statements.removeLetter, [...position, sequence, String(offset)]],
    [statements.endSequence, [...position, sequence]],
  ];
}

export async function lanePosition(lane: Lane, scopes: ScopeIds): Promise<Parameter[]> {
  return [await scopes.of(lane.scope), lane.topicId, lane.partition];
}

/** What a refused letter means; other errors as they are. */
export function parkingError(error: unknown): unknown {
  const { code, column, table, constraint } = (error ?? {}) as Record<string, unknown>;
  // Before Postgres 18 a violated "not null" has no name.
  const refused =
    code === '23502' &&
    (constraint === 'parked_letter_sequence_parked' || (table === 'parked_letter' && column === 'sequence'));
  return refused
    ? new FencedError('A record was to queue behind a parked one that is gone: nothing was stored')
    : error;
}
