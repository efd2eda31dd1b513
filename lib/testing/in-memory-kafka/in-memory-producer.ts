import type { DriverProducer, DriverProducerOptions } from '../../driver/driver.js';
import {
  ConnectionClosedError,
  InvalidRecordError,
  ProduceError,
  WrongCallOrderError,
} from '../../errors/errors.js';
import type { OutgoingRecord, RecordMetadata } from '../../messages/record.js';
import type { Cluster } from './cluster.js';
import { Connection } from './connection.js';
import { NativeProducer } from './native-producer.js';
import { Partitioner } from './partitioner.js';
import { store } from './store.js';

type State = 'new' | 'connected' | 'disconnected';

/** Sends to the in-memory cluster; each record is a request of its own, in the order of the calls. */
export class InMemoryProducer implements DriverProducer {
  readonly native: NativeProducer;
  readonly #connection: Connection;
  readonly #partitioner = new Partitioner();
  readonly #underWay = new Set<Promise<unknown>>();
  readonly #listeners: ((status: 'connected' | 'disconnected') => void)[] = [];
  #state: State = 'new';

  constructor(
    private readonly cluster: Cluster,
    private readonly options: DriverProducerOptions,
  ) {
    this.#connection = new Connection(cluster.broker, cluster.clock);
    this.native = new NativeProducer((record) => this.send(record));
  }

  async connect(): Promise<void> {
    if (this.#state === 'connected') return;
    await this.#connection.request('a connection', () => {});
    this.#turn('connected');
  }

  async send(record: OutgoingRecord): Promise<RecordMetadata> {
    this.#expectConnected();
    // Taken as it is now: what the caller does to its buffers while the record is on its way changes nothing.
    const sent = snapshot(record);
    const timeout = this.options.timeout ?? this.cluster.requestTimeout;
    const answer = this.#connection.request(
      `a record for topic "${record.topic}"`,
      () => this.cluster.faults.onProduce(sent, () => store(this.cluster, sent, this.#partitioner)),
      timeout,
    );
    this.#underWay.add(answer);
    try {
      const metadata = await answer;
      return this.options.acks === 0 ? { ...metadata, offset: -1n } : metadata;
    } catch (error) {
      if (error instanceof ProduceError) throw error;
      const message = error instanceof Error ? error.message : String(error);
      throw new ProduceError(message, { cause: error, retryable: true });
    } finally {
      this.#underWay.delete(answer);
    }
  }

  sendAll(records: readonly OutgoingRecord[]): Promise<RecordMetadata[]> {
    return Promise.all(records.map((record) => this.send(record)));
  }

  async disconnect(): Promise<void> {
    if (this.#state !== 'connected') return;
    this.#state = 'disconnected';
    if (this.#connection.severed) return;
    await Promise.allSettled(this.#underWay);
    for (const listener of this.#listeners) listener('disconnected');
  }

  onStatus(listener: (status: 'connected' | 'disconnected') => void): void {
    this.#listeners.push(listener);
  }

  /** As if this process had died. */
  crash(): void {
    this.#connection.sever();
  }

  #turn(state: 'connected'): void {
    this.#state = state;
    for (const listener of this.#listeners) listener(state);
  }

  #expectConnected(): void {
    if (this.#state === 'connected') return;
    if (this.#state === 'new')
      throw new WrongCallOrderError('send() was called before connect(): await connect() first');
    throw new ConnectionClosedError('The producer was disconnected');
  }
}

function snapshot(record: OutgoingRecord): OutgoingRecord {
  const copy = (bytes: Buffer | null, part: string) => {
    if (bytes === null) return null;
    if (Buffer.isBuffer(bytes)) return Buffer.from(bytes);
    throw new InvalidRecordError(
      `The ${part} of a record for topic "${record.topic}" is neither a Buffer nor null`,
    );
  };
  return {
    ...record,
    key: copy(record.key, 'key'),
    value: copy(record.value, 'value'),
    headers: record.headers.map(([name, value]) => [name, copy(value, 'header value')] as const),
  };
}
