import type { ParkedSequence, ParkingWork } from './ledger-parking.js';
import type { Fence, Lane } from './ledger-terms.js';

/**
 * Which sequences of the lanes that this process holds are parked: read when a lane is taken, and known from then on, for
 * only the owner adds and removes letters. A count may be too high for what was stored twice, never too low; a sequence
 * that is wrongly taken for parked is noticed when a letter is added to it.
 */
export class ParkingRegistry {
  private readonly lanes = new Map<string, Map<string, number>>();

  /** The lane is ours from now on. */
  load(lane: Lane, parked: readonly ParkedSequence[]): void {
    const name = nameOf(lane);
    if (parked.length === 0) this.lanes.delete(name);
    else this.lanes.set(name, new Map(parked.map(({ sequence, letters }) => [textOf(sequence), letters])));
  }

  /** `undefined` for a lane with nothing parked, as almost all are. */
  of(lane: Lane): ParkedLane | undefined {
    if (this.lanes.size === 0) return undefined;
    const sequences = this.lanes.get(nameOf(lane));
    return sequences && { lettersOf: (sequence) => sequences.get(textOf(sequence)) };
  }

  /** A sequence was made. */
  parked({ lane }: Fence, sequence: Buffer): void {
    const name = nameOf(lane);
    let sequences = this.lanes.get(name);
    if (!sequences) this.lanes.set(name, (sequences = new Map()));
    if (!sequences.has(textOf(sequence))) sequences.set(textOf(sequence), 1);
  }

  /** A transaction is committed. What it removed, its own run of the handler has brought to an end. */
  committed({ fence, appended, removed }: ParkingWork): void {
    const sequences = this.lanes.get(nameOf(fence.lane));
    if (!sequences) return;
    for (const { sequence } of appended) change(sequences, textOf(sequence), 1);
    for (const { sequence } of removed) change(sequences, textOf(sequence), -1);
    if (sequences.size === 0) this.lanes.delete(nameOf(fence.lane));
  }
}

/** The parked sequences of a lane. */
export interface ParkedLane {
  /** How many letters a sequence has; `undefined` if it is not parked. */
  lettersOf(sequence: Buffer): number | undefined;
}

function change(sequences: Map<string, number>, sequence: string, by: number): void {
  const letters = (sequences.get(sequence) ?? 0) + by;
  if (letters > 0) sequences.set(sequence, letters);
  else sequences.delete(sequence);
}

function textOf(sequence: Buffer): string {
  return sequence.toString('latin1');
}

function nameOf({ scope, topicId, partition }: Lane): string {
  return JSON.stringify([scope.group, scope.handler, topicId, partition]);
}
