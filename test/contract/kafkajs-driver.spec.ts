import { systemClock } from '../../lib/runtime/clock.js';
import { silentLog } from '../../lib/runtime/log.js';
import { KafkajsDriver } from '../../lib/driver/kafkajs/kafkajs-driver.js';
import { driverContract } from '../../lib/testing/contract/driver.contract.js';

const brokers = process.env.KAFKA_BROKERS?.split(',');
if (!brokers) throw new Error('KAFKA_BROKERS is not set: these tests need a Kafka broker');

driverContract(
  'KafkajsDriver',
  () => {
    const driver = () => new KafkajsDriver({ clientId: 'contract', brokers }, systemClock, silentLog);
    return Promise.resolve({
      driver,
      dispose: () => Promise.resolve(),
      truncate: async (topic, partition, offset) => {
        const admin = driver().native.admin();
        await admin.connect();
        // Deleting records takes the leaders from metadata that only other calls load.
        await admin.fetchTopicOffsets(topic);
        await admin.deleteTopicRecords({ topic, partitions: [{ partition, offset: String(offset) }] });
        await admin.disconnect();
      },
    });
  },
  { describe, it },
);
