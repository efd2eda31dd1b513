import { InvalidOptionError } from '../../../lib/errors/errors.js';
import type { KafkaTransportOptions } from '../../../lib/index.js';
import { resolveOptions } from '../../../lib/transport/resolve-options.js';
import { systemClock } from '../../../lib/runtime/clock.js';

function refusal(options: unknown): string {
  try {
    resolveOptions(options as KafkaTransportOptions, 'server');
  } catch (error) {
    expect(error).toBeInstanceOf(InvalidOptionError);
    return (error as Error).message;
  }
  return 'nothing was thrown';
}

/** This library's own options, by their path, with a value other than the default. */
const WORKING: Readonly<Record<string, unknown>> = {
  concurrency: 1,
  ordering: 'key',
  'groupCommit.maxRecords': 1,
  'groupCommit.maxMillis': 0,
  'retry.attempts': 1,
  'retry.initial': 0,
  'retry.factor': 1,
  'retry.max': Infinity,
  'retry.jitter': false,
  'retry.deadline': 60_000,
  onExhausted: 'park',
  'parking.retryAfter': 0,
  'parking.factor': 1,
  'parking.max': Infinity,
  'parking.attempts': 1,
  'parking.maxSequences': 1,
  'parking.maxLetters': 1,
  deadLetter: 'dead',
  handlerTimeout: 1,
  replyPartition: 'shared',
  requestTimeout: 1,
  shutdownTimeout: 0,
  streamOffsetTimeout: 0,
  provision: false,
};

function optionsOf(path: string, value: unknown): Record<string, unknown> {
  const [group, name] = path.split('.') as [string, string | undefined];
  return name === undefined ? { [group]: value } : { [group]: { [name]: value } };
}

describe('Options that are not given', () => {
  it('have the defaults that are promised', () => {
    const { engine, ...resolved } = resolveOptions({}, 'server');
    expect(resolved).toMatchObject({
      clientId: 'nestjs-consumer-server',
      groupId: 'nestjs-group-server',
      brokers: ['localhost:9092'],
      sessionTimeout: 30_000,
      rebalanceTimeout: 60_000,
      heartbeatInterval: 3_000,
      fromBeginning: false,
      provision: true,
      keepBinary: false,
      replyPartition: 'exclusive',
      requestTimeout: 30_000,
      streamOffsetTimeout: 30_000,
      clock: systemClock,
      deadLetterTopic: undefined,
    });
    expect(engine).toMatchObject({
      concurrency: 8,
      ordering: 'partition',
      groupCommit: { maxRecords: 64, maxMillis: 10, concurrent: false },
      retry: { attempts: 10, initial: 100, factor: 2, max: 30_000, jitter: true },
      onExhausted: undefined,
      parking: {
        retryAfter: 30_000,
        factor: 2,
        max: 3_600_000,
        attempts: 10,
        maxSequences: 10_000,
        maxLetters: 1_000,
      },
      handlerTimeout: undefined,
      shutdownTimeout: 10_000,
      commitOffsets: true,
      commitInterval: 500,
    });
  });

  it('follow others where that is promised', () => {
    const given = { consumer: { groupId: 'g', allowAutoTopicCreation: false } };
    expect(resolveOptions(given, 'server').provision).toBe(false);
    expect(resolveOptions({ ...given, provision: true }, 'server').provision).toBe(true);
    const run = { partitionsConsumedConcurrently: 3 };
    expect(resolveOptions({ run }, 'server').engine.concurrency).toBe(3);
    expect(resolveOptions({ run, concurrency: 2 }, 'server').engine.concurrency).toBe(2);
    expect(resolveOptions({ groupCommit: false }, 'server').engine.groupCommit.maxRecords).toBe(1);
    expect(resolveOptions({}, 'client').groupId).toBe('nestjs-group-client');
  });
});

describe('Options of this library', () => {
  it.each(Object.keys(WORKING))('%s is taken, and refused by its name where it cannot work', (path) => {
    expect(refusal(optionsOf(path, WORKING[path]))).toBe('nothing was thrown');
    for (const garbage of [NaN, -5, '1 day', 10n, []]) {
      expect([garbage, refusal(optionsOf(path, garbage))]).toEqual([
        garbage,
        expect.stringContaining(`"${path}"`),
      ]);
    }
  });

  it.each([
    [{ retry: 5 }, '"retry" is 5; it must be an object'],
    [{ parking: 'never' }, '"parking" is a text; it must be an object'],
    [{ retry: { initial: 10, max: 5 } }, '"retry.initial" is 10; it must not be above retry.max (5)'],
    [
      { parking: { retryAfter: 10, max: 5 } },
      '"parking.retryAfter" is 10; it must not be above parking.max (5)',
    ],
    [
      { onExhausted: 'park', ordering: 'none' },
      `"onExhausted" is 'park', which keeps the order of a key, but under ordering 'none' there is no order`,
    ],
    [{ groupCommit: { concurrent: true } }, '"groupCommit.concurrent" is true, but under ordering'],
    [
      { consumer: { heartbeatInterval: 30_000 } },
      '"consumer.heartbeatInterval" is 30000; it must be lower than consumer.sessionTimeout (30000)',
    ],
    [{ run: { eachMessage: () => undefined } }, '"run.eachMessage" belongs to this transport'],
    [{ handlerTimout: 5 }, '"handlerTimout" is not an option of this transport. Did you mean'],
  ])('say what is wrong: %j', (options, message) => {
    expect(refusal(options)).toContain(message);
  });
});
