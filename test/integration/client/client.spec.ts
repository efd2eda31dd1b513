import { KafkajsDriver } from '../../../lib/driver/kafkajs/kafkajs-driver.js';
import { systemClock } from '../../../lib/runtime/clock.js';
import { silentLog } from '../../../lib/runtime/log.js';
import { describeClient } from '../../support/client-suite.js';

const { KAFKA_BROKERS } = process.env;
if (!KAFKA_BROKERS)
  throw new Error('KAFKA_BROKERS is not set: this suite needs a broker. Run it by test/run.mjs.');
const brokers = KAFKA_BROKERS.split(',');

describeClient(
  'kafkajs',
  () => new KafkajsDriver({ brokers, clientId: 'client-spec' }, systemClock, silentLog),
);
