import { ClientKafkaProxy, ServerKafka, type KafkaTransportOptions } from '../../../lib/index.js';
import { InvalidOptionError } from '../../../lib/errors/errors.js';

function refusal(options: unknown): string | undefined {
  const messages = [ServerKafka, ClientKafkaProxy].map((side) => {
    try {
      new side(options as KafkaTransportOptions);
      return undefined;
    } catch (error) {
      expect(error).toBeInstanceOf(InvalidOptionError);
      return (error as Error).message;
    }
  });
  expect(messages[0]).toBe(messages[1]);
  return messages[0];
}

/** Every option that is Nest's or kafkajs', with a value that works. */
const WORKING: Readonly<Record<string, unknown>> = {
  'client.brokers': ['localhost:9092', 'kafka-2.example:19092'],
  'client.clientId': 'shop',
  'client.ssl': { ca: 'a certificate' },
  'client.sasl': { mechanism: 'plain', username: 'u', password: 'p' },
  'client.connectionTimeout': 1_000,
  'client.authenticationTimeout': 1_000,
  'client.reauthenticationThreshold': 1_000,
  'client.requestTimeout': 30_000,
  'client.enforceRequestTimeout': false,
  'client.retry': { retries: Infinity, initialRetryTime: 0.5, factor: 0.2, multiplier: 2 },
  'client.socketFactory': () => undefined,
  'client.logLevel': 4,
  'client.logCreator': () => () => undefined,
  'consumer.groupId': 'shop',
  'consumer.allowAutoTopicCreation': false,
  'consumer.maxWaitTimeInMs': 0,
  'consumer.minBytes': 1,
  'consumer.maxBytes': 1_000,
  'consumer.maxBytesPerPartition': 1_000,
  'consumer.metadataMaxAge': 5_000,
  'consumer.readUncommitted': true,
  'consumer.rackId': 'a',
  'consumer.retry': { retries: 0 },
  'producer.createPartitioner': () => () => 0,
  'producer.retry': { maxRetryTime: 500 },
  'producer.metadataMaxAge': 5_000,
  'producer.allowAutoTopicCreation': false,
  'producer.idempotent': false,
  'producer.transactionalId': 'id',
  'producer.transactionTimeout': 5_000,
  'producer.maxInFlightRequests': 1,
  'subscribe.fromBeginning': true,
  'send.acks': -1,
  'send.timeout': 5_000,
  'send.compression': 1,
  'parser.keepBinary': true,
  postfixId: '',
  producerOnlyMode: true,
  serializer: { serialize: (value: unknown) => value },
  deserializer: { deserialize: (value: unknown) => value },
};

function optionsOf(path: string, value: unknown): Record<string, unknown> {
  const [group, name] = path.split('.') as [string, string | undefined];
  return name === undefined ? { [group]: value } : { [group]: { [name]: value } };
}

describe('Options that are wrong', () => {
  it.each([
    [
      { client: { brokers: 'localhost:9092' } },
      `"client.brokers" is a single text; it must be a list of 'host:port'`,
    ],
    [{ client: { brokers: [] } }, `"client.brokers" is empty; it must be a list of 'host:port'`],
    [{ client: { brokers: [undefined] } }, `"client.brokers[0]" is undefined; it must be 'host:port'`],
    [{ client: { brokers: ['a:1', 'localhost'] } }, `"client.brokers[1]" is a text of another form`],
    [{ client: { brokers: ['a:1,b:1'] } }, `"client.brokers[0]" is a text of another form`],
    [{ client: { brokers: ['kafka://a:1'] } }, `"client.brokers[0]" is a text of another form`],
    [{ client: 'localhost:9092' }, '"client" is a text; it must be an object'],
    [{ client: { sasl: 'pass-phrase' } }, '"client.sasl" is a text; it must be an object'],
    [
      { client: { retry: { retries: '3' } } },
      `"client.retry.retries" is '3'; it must be a number, at least 0`,
    ],
    [{ consumer: { groupId: '' } }, `"consumer.groupId" is ''; it must be a text that is not empty`],
    [
      { consumer: { groupId: 'g', maxBytes: 0 } },
      '"consumer.maxBytes" is 0; it must be a whole number from 1',
    ],
    [
      { subscribe: { fromBeginning: 'true' } },
      `"subscribe.fromBeginning" is 'true'; it must be true or false`,
    ],
    [{ send: { acks: 2 } }, '"send.acks" is 2; it must be -1 (all replicas), 1 (the leader) or 0'],
    [{ serializer: () => 1 }, '"serializer" is a function; it must be an object with a method serialize()'],
    [{ driver: {} }, '"driver" is an object; it must be an object with a method createConsumer()'],
    [{ groupCommit: 5 }, '"groupCommit" is 5; it must be an object, or false'],
    [{ deadLetter: null }, '"deadLetter" must be true, a topic, or { topic }'],
    [{ deadLetter: 'orders dead' }, '"deadLetter" must be true, a topic, or { topic }'],
    [{ deadLetter: { topic: '' } }, '"deadLetter" must be true, a topic, or { topic }'],
    [null, '"options" is null; it must be an object'],
  ])('are refused by name, on both sides alike: %j', (options, message) => {
    expect(refusal(options)).toContain(message);
    expect(refusal(options)).not.toContain('pass-phrase');
  });

  it.each(Object.keys(WORKING))('are never taken for right, nor something else than refused: %s', (path) => {
    expect(refusal(optionsOf(path, WORKING[path]))).toBeUndefined();
    for (const unset of [undefined, null]) expect(refusal(optionsOf(path, unset))).toBeUndefined();
    // Nothing takes these.
    for (const garbage of [NaN, -5, Symbol('s'), 10n, [], [{}]]) {
      expect(refusal(optionsOf(path, garbage))).toContain(`"${path}`);
    }
  });
});
