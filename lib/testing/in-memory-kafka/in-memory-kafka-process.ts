import type {
  DriverAdmin,
  DriverConsumer,
  DriverConsumerOptions,
  DriverProducer,
  DriverProducerOptions,
  DriverReader,
  DriverReaderOptions,
  KafkaDriver,
} from '../../driver/driver.js';
import type { Cluster } from './cluster.js';
import { InMemoryAdmin } from './in-memory-admin.js';
import { InMemoryConsumer } from './in-memory-consumer.js';
import { InMemoryProducer } from './in-memory-producer.js';
import { InMemoryReader } from './in-memory-reader.js';

/** The clients of one process of several that share an in-memory cluster. Made by `InMemoryKafka.process`. */
export class InMemoryKafkaProcess implements KafkaDriver {
  readonly name = 'in-memory';
  readonly #clients = new Set<{ crash(): void }>();

  constructor(
    /** The cluster's object. */
    readonly native: unknown,
    private readonly cluster: Cluster,
    private readonly onConsumer: (consumer: InMemoryConsumer) => void,
  ) {}

  createConsumer(options: DriverConsumerOptions): DriverConsumer {
    const consumer = this.#own(new InMemoryConsumer(this.cluster, options));
    this.onConsumer(consumer);
    return consumer;
  }

  createProducer(options: DriverProducerOptions = {}): DriverProducer {
    return this.#own(new InMemoryProducer(this.cluster, options));
  }

  createReader(options: DriverReaderOptions): DriverReader {
    return this.#own(new InMemoryReader(this.cluster, options));
  }

  createAdmin(): DriverAdmin {
    return this.#own(new InMemoryAdmin(this.cluster));
  }

  /** The process dies: see `InMemoryKafkaFaults.crash`, for all of its clients at once. */
  crash(): void {
    for (const client of this.#clients) client.crash();
  }

  #own<T extends { crash(): void }>(client: T): T {
    this.#clients.add(client);
    return client;
  }
}
