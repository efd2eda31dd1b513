import { InvalidOptionError } from '../errors/errors.js';
import type { KafkaTransportOptions } from './kafka-transport.options.js';
import {
  callable,
  flag,
  having,
  numberAtLeast,
  object,
  refuse,
  show,
  text,
  wholeNumber,
  type Check,
} from './option-checks.js';

/** By name. What is not there, `undefined` or `null`, is not checked: a default takes its place. */
type Shape = Readonly<Record<string, Check>>;

/** Sizes and times that go to the broker as 32-bit numbers. */
const MOST_INT32 = 2 ** 31 - 1;
const from =
  (least: number): Check =>
  (option, value) =>
    wholeNumber(option, value, least, MOST_INT32);
const duration: Check = (option, value) => numberAtLeast(option, value, 0);

const retry = shape({
  retries: duration,
  initialRetryTime: duration,
  maxRetryTime: duration,
  factor: duration,
  multiplier: duration,
  restartOnFailure: callable,
});

/** Nest's and kafkajs' options, which types alone guard: they come from files and environments as often as from code. */
const SHAPE: Shape = {
  client: shape({
    brokers,
    clientId: text,
    ssl: booleanOrObject,
    sasl: object,
    connectionTimeout: duration,
    authenticationTimeout: duration,
    reauthenticationThreshold: duration,
    requestTimeout: duration,
    enforceRequestTimeout: flag,
    retry,
    socketFactory: callable,
    logLevel: from(0),
    logCreator: callable,
  }),
  consumer: shape({
    groupId: text,
    allowAutoTopicCreation: flag,
    maxWaitTimeInMs: from(0),
    minBytes: from(0),
    maxBytes: from(1),
    maxBytesPerPartition: from(1),
    metadataMaxAge: from(1),
    readUncommitted: flag,
    rackId: text,
    retry,
    partitionAssigners: callables,
  }),
  producer: shape({
    createPartitioner: callable,
    retry,
    metadataMaxAge: from(1),
    allowAutoTopicCreation: flag,
    idempotent: flag,
    transactionalId: text,
    transactionTimeout: from(1),
    maxInFlightRequests: from(1),
  }),
  run: object,
  subscribe: shape({ fromBeginning: flag }),
  send: shape({ acks, timeout: from(1), compression: (option, value) => wholeNumber(option, value, 0, 4) }),
  serializer: having('serialize'),
  deserializer: having('deserialize'),
  parser: shape({ keepBinary: flag }),
  postfixId: (option, value) =>
    typeof value === 'string' || refuse(option, value, 'a text, also an empty one'),
  producerOnlyMode: flag,
  driver: having('createConsumer'),
  clock: having('setTimeout'),
  retry: object,
  parking: object,
};

/** Checks what is checked nowhere else, before anything reads the options. */
export function checkGivenOptions(options: KafkaTransportOptions): void {
  shape(SHAPE)('options', options);
}

function shape(checks: Shape): Check {
  return (option, value) => {
    object(option, value);
    const prefix = option === 'options' ? '' : `${option}.`;
    for (const [name, check] of Object.entries(checks)) {
      const given = (value as Record<string, unknown>)[name];
      if (given != null) check(`${prefix}${name}`, given);
    }
  };
}

function booleanOrObject(option: string, value: unknown): void {
  if (typeof value !== 'boolean') object(option, value);
}

function callables(option: string, value: unknown): void {
  if (!Array.isArray(value)) return refuse(option, value, 'a list of functions');
  value.forEach((each, index) => callable(`${option}[${index}]`, each));
}

function acks(option: string, value: unknown): void {
  if (value !== -1 && value !== 0 && value !== 1) {
    refuse(option, value, '-1 (all replicas), 1 (the leader) or 0 (nobody acknowledges)');
  }
}

/** Never shows an address: it may carry what is nobody's business. */
function brokers(option: string, value: unknown): void {
  if (typeof value === 'function') return;
  if (!Array.isArray(value) || value.length === 0) {
    const kind = typeof value === 'string' ? 'a single text' : Array.isArray(value) ? 'empty' : typeof value;
    throw new InvalidOptionError(
      option,
      `is ${kind}; it must be a list of 'host:port', or a function that returns one`,
    );
  }
  value.forEach((address: unknown, index) => {
    if (typeof address === 'string' && /^[^\s,/]+:\d{1,5}$/.test(address)) return;
    const kind = typeof address === 'string' ? 'a text of another form' : show(address);
    throw new InvalidOptionError(`${option}[${index}]`, `is ${kind}; it must be 'host:port'`);
  });
}
