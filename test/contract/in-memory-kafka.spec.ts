import { driverContract } from '../../lib/testing/contract/driver.contract.js';
import { InMemoryKafka } from '../../lib/testing/in-memory-kafka/in-memory-kafka.js';

driverContract(
  'InMemoryKafka',
  () => {
    const kafka = new InMemoryKafka();
    return Promise.resolve({
      driver: () => kafka,
      dispose: () => Promise.resolve(),
      truncate: (topic, partition, offset) => Promise.resolve(kafka.truncate(topic, partition, offset)),
    });
  },
  { describe, it },
);
