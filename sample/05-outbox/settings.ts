import { randomBytes } from 'node:crypto';

const run = randomBytes(3).toString('hex');

/** Names of this run's own, so that the sample can be run again and again on one broker and one database. */
export const topics = { placed: `sample.${run}.order.placed` };
export const group = `sample-shop-${run}`;
/** Holds the sample's tables, and the ledger's. */
export const schema = `sample_${run}`;
