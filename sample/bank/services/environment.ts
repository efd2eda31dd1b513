import { topicsOf } from '../names.js';
import { fromVariables } from './variables.js';

const variables = fromVariables(process.env);

/** Addresses and names of this process. */
export const { brokers, databaseUrl, groupId, durableSchema } = variables;

/** Names of this run's topics, for the decorators. */
export const topics = topicsOf(variables.suffix);

/** The same for both transports. */
export const consumer = {
  groupId,
  sessionTimeout: variables.sessionTimeoutMs,
  heartbeatInterval: variables.sessionTimeoutMs / 4,
  maxWaitTimeInMs: 500, // by default a member that has nothing to do takes 5 s to stop
};
