import * as nest from '@nestjs/microservices';
import { ClientKafkaProxy, KafkaDeliveryContext, ServerKafka } from '../../../lib/index.js';

type Class = abstract new (...args: never[]) => object;

/** Names of methods and accessors, those of base classes included. */
function members({ prototype }: Class): string[] {
  const names = new Set<string>();
  for (let at: object = prototype; at !== Object.prototype; at = Object.getPrototypeOf(at) as object) {
    for (const name of Object.getOwnPropertyNames(at)) names.add(name);
  }
  return [...names].sort();
}

/** What of the built-in classes is about kafkajs' own consumer and producer, or the encoding of replies. */
const plumbing = {
  server: [
    ...['createClient', 'bindEvents', 'registerConsumerEventListeners', 'registerProducerEventListeners'],
    ...['getMessageHandler', 'handleMessage', 'getPublisher', 'sendMessage', 'isPatternMatch'],
    'combineStreamsAndThrowIfRetriable',
    ...['assignCorrelationIdHeader', 'assignErrorHeader', 'assignIsDisposedHeader', 'assignReplyPartition'],
  ],
  client: [
    ...['createClient', 'bindTopics', 'registerConsumerEventListeners', 'registerProducerEventListeners'],
    ...['createResponseCallback', 'getReplyTopicPartition', 'setConsumerAssignments'],
    ...['initializeClientAndConnections', 'discardPartialConnection', 'handleClose'],
  ],
};

describe('A member of the built-in class is a member of the one that takes its place:', () => {
  it.each<[string, Class, Class, readonly string[]]>([
    ['ServerKafka', nest.ServerKafka, ServerKafka, plumbing.server],
    ['ClientKafka', nest.ClientKafka, ClientKafkaProxy, plumbing.client],
    ['KafkaContext', nest.KafkaContext, KafkaDeliveryContext, []],
  ])('%s', (_, builtIn, own, without) => {
    const has = new Set(members(own));
    const missing = members(builtIn).filter((name) => !has.has(name));
    expect(missing.filter((name) => !without.includes(name))).toEqual([]);
  });

  it('code that names the type of the built-in client compiles with the other one in its place', () => {
    // Its statuses are typed as text: KafkaStatus is a const enum.
    type Different = 'status' | 'handleClose' | 'bindTopics' | 'createClient' | 'createResponseCallback';
    const declared: Omit<nest.ClientKafka, Different> = new ClientKafkaProxy();
    expect(declared.getConsumerAssignments()).toEqual({});
  });
});
