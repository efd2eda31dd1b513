import { ClientKafkaProxy } from './transport/client-kafka.proxy.js';
import { patchNest, warnOfSecondCopy } from './transport/nest-patch.js';
import { ServerKafka } from './transport/server-kafka.js';

patchNest({ server: ServerKafka, client: ClientKafkaProxy });
warnOfSecondCopy();
