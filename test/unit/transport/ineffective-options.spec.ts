import type { KafkaTransportOptions } from '../../../lib/index.js';
import { ineffectiveOptions } from '../../../lib/transport/ineffective-options.js';

describe('options without effect', () => {
  it('are told of, each with its name', () => {
    const restartOnFailure = () => Promise.resolve(false);
    const warnings = ineffectiveOptions({
      client: { brokers: [], retry: { retries: 3, restartOnFailure } },
      consumer: { groupId: 'g', maxInFlightRequests: 5, retry: { restartOnFailure }, autoCommit: true },
      producer: { linger: 5 },
      send: { topic: 'x' },
    } as KafkaTransportOptions);
    expect(warnings.map((warning) => /"(.+?)"/.exec(warning)![1])).toEqual([
      'consumer.autoCommit',
      'producer.linger',
      'send.topic',
      'consumer.maxInFlightRequests',
      'client.retry.restartOnFailure',
      'consumer.retry.restartOnFailure',
    ]);
  });

  it('are none of those that the documentation shows', () => {
    const warnings = ineffectiveOptions({
      client: { brokers: ['localhost:9092'], clientId: 'c', ssl: true, retry: { retries: 3 } },
      consumer: { groupId: 'g', sessionTimeout: 9_000, allowAutoTopicCreation: true, retry: { retries: 2 } },
      producer: { allowAutoTopicCreation: true, maxInFlightRequests: 1, idempotent: false },
      subscribe: { fromBeginning: true },
      send: { acks: 1, timeout: 5_000 },
      parser: { keepBinary: true },
      run: { partitionsConsumedConcurrently: 3 },
    });
    expect(warnings).toEqual([]);
  });
});
