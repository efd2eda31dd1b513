/** A hundred years in milliseconds: stands for "for ever" where a store has no time that is much earlier or later. */
export const CENTURY = 100 * 365 * 24 * 3_600_000;
