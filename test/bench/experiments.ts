import type { Experiment } from './experiment.js';
import { dispatch } from './experiments/dispatch.js';
import { events } from './experiments/events.js';
import { echo, echoInsert } from './experiments/requests.js';

/** In the order in which they are run. */
export const experiments: readonly Experiment[] = [events, dispatch, echo, echoInsert];
