import { randomBytes, randomInt } from 'node:crypto';
import kafkajs from 'kafkajs';
import { Partitioner } from '../../../lib/testing/in-memory-kafka/partitioner.js';

describe('Partitioner', () => {
  it('puts keys where the default partitioner of kafkajs puts them', () => {
    const theirs = kafkajs.Partitioners.DefaultPartitioner();
    const ours = new Partitioner();
    for (let round = 0; round < 2000; round++) {
      const key = randomBytes(round % 41);
      const count = randomInt(1, 50);
      const partitionMetadata = Array.from({ length: count }, (_, partitionId) => ({
        ...{ partitionErrorCode: 0, partitionId, leader: 0, replicas: [0], isr: [0] },
      }));
      expect([key, ours.choose('t', key, count)]).toEqual([
        key,
        theirs({ topic: 't', partitionMetadata, message: { key, value: null } }),
      ]);
    }
  });

  it('takes partitions in turn where there is no key, topic by topic', () => {
    const partitioner = new Partitioner();
    const choose = (topic: string) => partitioner.choose(topic, null, 3);
    expect([choose('a'), choose('a'), choose('b'), choose('a'), choose('a')]).toEqual([0, 1, 0, 2, 0]);
  });
});
