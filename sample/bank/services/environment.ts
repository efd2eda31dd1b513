import { topicsOf } from '../names.js';
import { fromVariables } from './variables.js';

/** Addresses and names of this process. */
export const environment = fromVariables(process.env);

/** Names of this run's topics, for the decorators. */
export const topics = topicsOf(environment.suffix);
