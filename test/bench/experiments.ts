import type { Experiment } from './experiment.js';
import { costs } from './experiments/costs.js';
import { dispatch } from './experiments/dispatch.js';
import { events } from './experiments/events.js';
import { failing } from './experiments/failing.js';
import { failover } from './experiments/failover.js';
import { growth } from './experiments/growth.js';
import { latency } from './experiments/latency.js';
import { echo, echoInsert } from './experiments/requests.js';
import { rewind } from './experiments/rewind.js';
import { startup } from './experiments/startup.js';

/** In the order in which they are run. */
export const experiments: readonly Experiment[] = [
  events,
  dispatch,
  echo,
  echoInsert,
  latency,
  rewind,
  failover,
  startup,
  growth,
  failing,
  ...costs,
];
