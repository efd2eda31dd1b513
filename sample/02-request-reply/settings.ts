import { randomBytes } from 'node:crypto';

const run = randomBytes(3).toString('hex');

/** Names of this run's own, so that the sample can be run again and again on one broker. */
export const topics = {
  sum: `sample.${run}.math.sum`,
  countdown: `sample.${run}.math.countdown`,
  divide: `sample.${run}.math.divide`,
};
export const group = `sample-math-${run}`;
