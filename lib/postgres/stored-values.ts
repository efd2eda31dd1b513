/**
 * The time of rows that are written together. One for all of them: each later one would have their index by time log a new
 * end of its range, which is a tenth of what a record without a reply writes.
 */
export const AT_ONCE = 'statement_timestamp()';

/** Numbers by which `execution.state` is stored. */
export const STATE_NUMBERS = { completed: 1, failed: 2, dead: 3, skipped: 4, claimed: 5 } as const;
