import { TopicMissingError, WrongCallOrderError } from '../errors/errors.js';
import type { OutboxRecord } from '../execution/ledger.js';
import type { OutboxDispatcher, RecordProducer } from '../execution/outbox-dispatcher.js';
import type { KafkaRecord } from '../messages/record.js';
import { settlesWithin, type Clock } from '../runtime/clock.js';
import type { Log } from '../runtime/log.js';
import type { OutgoingProducer } from '../transport/outgoing-producer.js';
import type { ServerKafka } from '../transport/server-kafka.js';

/** Milliseconds that a shutdown waits for the broker. */
const PATIENCE = 5_000;

/** The way to the broker for records that no handler emitted: by a server of this application, or a producer of its own. */
export class OutboxOutlet {
  private readonly servers = new Set<ServerKafka>();
  private readonly pending = new Set<Promise<void>>();
  private warned = false;

  constructor(
    private readonly dispatcher: OutboxDispatcher,
    private readonly markDispatched: (ids: readonly string[]) => void,
    private readonly own: OutgoingProducer | undefined,
    private readonly clock: Clock,
    private readonly log: Log,
  ) {}

  addServer(server: ServerKafka): void {
    this.servers.add(server);
  }

  /** Whether a server of this application has a handler for the topic, in that group. */
  consumes(group: string, topic: string): boolean {
    return [...this.servers].some((server) => server.consumes(group, topic));
  }

  /**
   * The records that a topic holds as of now, from the first server's cluster that has it.
   * @throws TopicMissingError, BrokerUnreachableError; WrongCallOrderError if no server listens.
   */
  async *readTopic(topic: string, signal: AbortSignal): AsyncGenerator<readonly KafkaRecord[]> {
    let missing: unknown = new WrongCallOrderError(
      `The topic "${topic}" cannot be read: no Kafka server of this application listens`,
    );
    for (const server of this.servers) {
      if (!server.outgoing) continue;
      try {
        return yield* server.readTopic(topic, signal);
      } catch (error) {
        if (!(error instanceof TopicMissingError)) throw error;
        missing = error;
      }
    }
    throw missing;
  }

  /** `undefined` while there is no way. */
  get producer(): RecordProducer | undefined {
    const { own } = this;
    if (own) return (record) => own.send(record);
    for (const { outgoing } of this.servers) if (outgoing) return (record) => outgoing.send(record);
    return undefined;
  }

  /** Sends committed records on their way without having anybody wait; what does not get through is swept later. */
  dispatch(records: readonly OutboxRecord[]): void {
    if (records.length === 0) return;
    const { producer } = this;
    if (!producer) return this.warnOnce();
    const acknowledged: string[] = [];
    const sending = this.dispatcher
      .offer(records, producer, (id) => acknowledged.push(id))
      .then(() => {
        this.markDispatched(acknowledged);
        this.pending.delete(sending);
      });
    this.pending.add(sending);
  }

  /** Resolves when nothing is on its way, or the broker took too long: a sweep will do the rest. */
  async settled(): Promise<void> {
    await settlesWithin(this.clock, Promise.all(this.pending), PATIENCE);
  }

  async close(): Promise<void> {
    await this.own?.close();
  }

  private warnOnce(): void {
    if (this.warned) return;
    this.warned = true;
    this.log.warn(
      'Records were emitted within DurableLedger.transaction(), and no Kafka server listens in this application: they ' +
        'wait in the outbox for another process. To produce them here give DurableModule the option "producer", for ' +
        'example { client: { brokers } }.',
    );
  }
}
