import type { Cost } from './bed.js';
import type { CostMetric } from './cost-rows.js';

/** What was read off a run's service and servers. */
export interface CostReadings {
  /** Of the whole run, and of its part between the marks. */
  readonly records: number;
  readonly marked: number;
  /** Of the whole run; undefined if the server did not tell in time. */
  readonly commits: number | undefined;
  /** Those among them that are the handlers' own. */
  readonly handlerCommits: number;
  /** The service's, between the marks, without its handlers'. */
  readonly own: { readonly statements: number; readonly trips: number };
  /** When the marks were heard of. */
  readonly from: Cost;
  readonly to: Cost;
  /** Bytes between these places; undefined if the server does not tell. */
  readonly pageImages: number | undefined;
}

/** Per record. What was not counted, or cannot be what was counted, is not there. */
export function costFigures(readings: CostReadings): Partial<Record<CostMetric, number>> {
  const { records, marked, handlerCommits, own, from, to, pageImages } = readings;
  const commits = countedBetween(handlerCommits, readings.commits);
  const inserts = countedBetween(from.handlers?.statements, to.handlers?.statements);
  const insertWal = countedBetween(from.handlers?.wal, to.handlers?.wal);
  // Marks arrive as messages: where the server counts, it says how many records there were in between.
  const told = inserts !== undefined && inserts <= records;
  const measured = told ? inserts : marked;
  return {
    ...(commits !== undefined && { commits: commits / records }),
    statements: own.statements / marked,
    trips: own.trips / marked,
    walBytes: Number(to.wal - from.wal) / measured,
    ...(told && insertWal !== undefined && { handlerWalBytes: insertWal / measured }),
    ...(pageImages !== undefined && { imageBytes: pageImages / measured }),
  };
}

/**
 * How far a counter went up. Undefined if it did not, or was not read: each run counts something, so it was set back in
 * between, or one of the readings came too early.
 */
export function countedBetween(before: number | undefined, after: number | undefined): number | undefined {
  return before !== undefined && after !== undefined && after > before ? after - before : undefined;
}
