import { InMemoryKafka } from '../../../lib/testing/in-memory-kafka/in-memory-kafka.js';
import { describeClient } from '../../support/client-suite.js';

describeClient('Kafka in memory', () => new InMemoryKafka());
