import { randomBytes } from 'node:crypto';

const run = randomBytes(3).toString('hex');

/** Names of this run's own, so that the sample can be run again and again on one broker. */
export const topics = { placed: `sample.${run}.order.placed`, billed: `sample.${run}.order.billed` };
export const group = `sample-events-${run}`;
