import type { EngineOptions, GroupBounds } from '../consumption/engine-context.js';
import { DEFAULT_PARKING, type ParkingPolicy } from '../consumption/parking-policy.js';
import type { Ordering } from '../consumption/sequences.js';
import { InvalidOptionError } from '../errors/errors.js';
import type { KafkaRecord } from '../messages/record.js';
import { isTopicName } from '../messages/topic-name.js';
import { systemClock, type Clock } from '../runtime/clock.js';
import { checkGivenOptions } from './check-given-options.js';
import type { DeadLetterOption, KafkaTransportOptions } from './kafka-transport.options.js';
import { flag, numberAtLeast, oneOf, onlyKnown, show, wholeNumber } from './option-checks.js';
import { resolveRetry } from './resolve-retry.js';

const KNOWN: readonly (keyof KafkaTransportOptions)[] = [
  'client',
  'clock',
  'concurrency',
  'consumer',
  'deadLetter',
  'deserializer',
  'driver',
  'groupCommit',
  'handlerTimeout',
  'onExhausted',
  'ordering',
  'parking',
  'parser',
  'postfixId',
  'producer',
  'producerOnlyMode',
  'provision',
  'replyPartition',
  'requestTimeout',
  'retry',
  'run',
  'send',
  'serializer',
  'shutdownTimeout',
  'streamOffsetTimeout',
  'subscribe',
];

const DEFAULT_CLIENT_ID = 'nestjs-consumer';
const DEFAULT_GROUP_ID = 'nestjs-group';
const DEFAULT_BROKER = 'localhost:9092';

/** Offsets are bookkeeping: often enough that little is read again after a crash, seldom enough to cost nothing. */
const COMMIT_INTERVAL = 500;
const GROUP_MILLIS = 10;
const STRETCHED_GROUP_MILLIS = 250;
/** Several groups of each partition. More would only wait as objects, which the driver keeps as bytes. */
const MAX_HELD_RECORDS = 500;
const MAX_HELD_BYTES = 8 * 1024 * 1024;
/** Some 100 bytes each, and what a crash reads again while one key is stuck. */
const MAX_UNCOMMITTED = 100_000;

/** Options of one side, copied, defaulted and checked. Nothing reads the user's object afterwards. */
export interface ResolvedOptions {
  readonly given: Readonly<KafkaTransportOptions>;
  readonly clientId: string;
  readonly groupId: string;
  readonly brokers: NonNullable<KafkaTransportOptions['client']>['brokers'];
  readonly sessionTimeout: number;
  readonly rebalanceTimeout: number;
  readonly heartbeatInterval: number;
  readonly fromBeginning: boolean;
  readonly provision: boolean;
  readonly keepBinary: boolean;
  readonly replyPartition: 'exclusive' | 'shared';
  readonly requestTimeout: number;
  readonly streamOffsetTimeout: number;
  readonly clock: Clock;
  /** The dead-letter topic of a record; `undefined` without dead letters. */
  readonly deadLetterTopic: ((record: KafkaRecord) => string) | undefined;
  /** `true` where the user insists on offsets committed on an interval. */
  readonly insistsOnAutoCommit: boolean;
  readonly engine: EngineOptions;
}

/** @throws InvalidOptionError naming the first option that cannot work. */
export function resolveOptions(options: KafkaTransportOptions, side: 'server' | 'client'): ResolvedOptions {
  checkGivenOptions(options);
  const given = { ...options };
  onlyKnown('', given, KNOWN);
  const consumer = given.consumer ?? ({} as NonNullable<KafkaTransportOptions['consumer']>);
  const postfix = given.postfixId ?? `-${side}`;
  const sessionTimeout = wholeNumber('consumer.sessionTimeout', consumer.sessionTimeout ?? 30_000, 1);
  const rebalanceTimeout = wholeNumber('consumer.rebalanceTimeout', consumer.rebalanceTimeout ?? 60_000, 1);
  const heartbeatInterval = wholeNumber('consumer.heartbeatInterval', consumer.heartbeatInterval ?? 3_000, 1);
  if (heartbeatInterval >= sessionTimeout) {
    throw new InvalidOptionError(
      'consumer.heartbeatInterval',
      `is ${heartbeatInterval}; it must be lower than consumer.sessionTimeout (${sessionTimeout}), best a third of it`,
    );
  }
  const autoTopics = consumer.allowAutoTopicCreation ?? true;
  return {
    given,
    clientId: `${given.client?.clientId ?? DEFAULT_CLIENT_ID}${postfix}`,
    groupId: `${consumer.groupId ?? DEFAULT_GROUP_ID}${postfix}`,
    brokers: given.client?.brokers ?? [DEFAULT_BROKER],
    sessionTimeout,
    rebalanceTimeout,
    heartbeatInterval,
    fromBeginning: given.subscribe?.fromBeginning ?? false,
    provision: flag('provision', given.provision ?? autoTopics),
    keepBinary: given.parser?.keepBinary ?? false,
    replyPartition: oneOf('replyPartition', given.replyPartition ?? 'exclusive', [
      'exclusive',
      'shared',
    ] as const),
    requestTimeout: wholeNumber('requestTimeout', given.requestTimeout ?? 30_000, 1),
    streamOffsetTimeout: wholeNumber('streamOffsetTimeout', given.streamOffsetTimeout ?? 30_000, 0),
    clock: given.clock ?? systemClock,
    deadLetterTopic: resolveDeadLetter(given.deadLetter),
    insistsOnAutoCommit: given.run?.autoCommit === true,
    engine: resolveEngine(given, rebalanceTimeout),
  };
}

function resolveEngine(given: KafkaTransportOptions, rebalanceTimeout: number): EngineOptions {
  const run: Record<string, unknown> = { ...given.run };
  for (const owned of ['eachMessage', 'eachBatch', 'eachBatchAutoResolve']) {
    if (run[owned] !== undefined) {
      throw new InvalidOptionError(
        `run.${owned}`,
        'belongs to this transport: it decides when a record is done. Remove it',
      );
    }
  }
  onlyKnown('run', run, [
    'autoCommit',
    'autoCommitInterval',
    'autoCommitThreshold',
    'partitionsConsumedConcurrently',
  ]);
  const concurrency = given.concurrency ?? given.run?.partitionsConsumedConcurrently ?? 8;
  const interval = given.run?.autoCommitInterval;
  const threshold = given.run?.autoCommitThreshold;
  const timeout = given.handlerTimeout;
  const ordering = oneOf('ordering', given.ordering ?? 'partition', ['partition', 'key', 'none'] as const);
  return {
    concurrency: wholeNumber('concurrency', concurrency, 1, 1_000),
    ordering,
    groupCommit: resolveGroup(given.groupCommit, ordering),
    retry: resolveRetry('retry', given.retry ?? {}),
    onExhausted: resolveOnExhausted(given.onExhausted, ordering),
    parking: resolveParking(given.parking ?? {}),
    handlerTimeout: timeout === undefined ? undefined : wholeNumber('handlerTimeout', timeout, 1),
    shutdownTimeout: wholeNumber('shutdownTimeout', given.shutdownTimeout ?? 10_000, 0),
    revocationTimeout: Math.floor(rebalanceTimeout / 2),
    commitOffsets: flag('run.autoCommit', given.run?.autoCommit ?? true),
    commitInterval: wholeNumber('run.autoCommitInterval', interval ?? COMMIT_INTERVAL, 1),
    commitThreshold: threshold == null ? Infinity : wholeNumber('run.autoCommitThreshold', threshold, 1),
    maxHeldRecords: MAX_HELD_RECORDS,
    maxHeldBytes: MAX_HELD_BYTES,
    maxUncommitted: MAX_UNCOMMITTED,
  };
}

function resolveGroup(given: KafkaTransportOptions['groupCommit'], ordering: Ordering): GroupBounds {
  const group = given === false ? { maxRecords: 1 } : (given ?? {});
  if (typeof group !== 'object' || Array.isArray(group)) {
    throw new InvalidOptionError('groupCommit', `is ${show(group)}; it must be an object, or false`);
  }
  onlyKnown('groupCommit', group, ['maxRecords', 'maxMillis', 'concurrent']);
  const maxMillis = numberAtLeast('groupCommit.maxMillis', group.maxMillis ?? GROUP_MILLIS, 0);
  const concurrent = flag('groupCommit.concurrent', group.concurrent ?? false);
  if (concurrent && ordering === 'partition') {
    throw new InvalidOptionError(
      'groupCommit.concurrent',
      "is true, but under ordering 'partition' the records of a group run one after the other. Set ordering to 'key' (or " +
        "'none'), or remove it",
    );
  }
  return {
    maxRecords: wholeNumber('groupCommit.maxRecords', group.maxRecords ?? 64, 1, 10_000),
    maxMillis,
    stretchedMillis: group.maxMillis === undefined ? STRETCHED_GROUP_MILLIS : maxMillis,
    concurrent,
  };
}

function resolveOnExhausted(
  given: KafkaTransportOptions['onExhausted'],
  ordering: Ordering,
): EngineOptions['onExhausted'] {
  if (given === undefined) return undefined;
  const onExhausted = oneOf('onExhausted', given, ['dead-letter', 'park', 'block'] as const);
  if (onExhausted === 'park' && ordering === 'none') {
    throw new InvalidOptionError(
      'onExhausted',
      "is 'park', which keeps the order of a key, but under ordering 'none' there is no order. Set ordering to 'key' (or " +
        "'partition'), or choose 'dead-letter'",
    );
  }
  return onExhausted;
}

function resolveParking(given: Partial<ParkingPolicy>): ParkingPolicy {
  onlyKnown('parking', given, Object.keys(DEFAULT_PARKING));
  const parking = { ...DEFAULT_PARKING, ...given };
  numberAtLeast('parking.retryAfter', parking.retryAfter, 0);
  numberAtLeast('parking.factor', parking.factor, 1);
  numberAtLeast('parking.max', parking.max, 0);
  for (const name of ['attempts', 'maxSequences', 'maxLetters'] as const) {
    wholeNumber(`parking.${name}`, parking[name], 1);
  }
  if (parking.retryAfter > parking.max) {
    throw new InvalidOptionError(
      'parking.retryAfter',
      `is ${parking.retryAfter}; it must not be above parking.max (${parking.max})`,
    );
  }
  return parking;
}

function resolveDeadLetter(option: DeadLetterOption | undefined): ResolvedOptions['deadLetterTopic'] {
  if (option === undefined || option === false) return undefined;
  if (option === true) return ({ topic }) => `${topic}.dlt`;
  const topic = typeof option === 'string' ? option : option?.topic;
  if (typeof topic === 'function') return topic;
  if (isTopicName(topic)) return () => topic;
  throw new InvalidOptionError('deadLetter', 'must be true, a topic, or { topic } with a name or a function');
}
