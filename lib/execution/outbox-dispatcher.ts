import { describeError } from '../errors/describe-error.js';
import { ConnectionClosedError } from '../errors/errors.js';
import { MESSAGE_ID_HEADER } from '../messages/idempotency-key.js';
import type { OutgoingRecord, RecordHeader } from '../messages/record.js';
import { sleep, type Clock } from '../runtime/clock.js';
import type { Log } from '../runtime/log.js';
import type { Ledger, OutboxRecord } from './ledger.js';

export type RecordProducer = (record: OutgoingRecord) => Promise<unknown>;

/** Longest pause between two tries to produce the same record, ms. */
const MAX_DELAY = 5_000;

/** Produces what transactions committed, in their order, and notes what the broker has. */
export class OutboxDispatcher {
  constructor(
    private readonly ledger: Ledger,
    private readonly keyHeader: string | false,
    private readonly clock: Clock,
    private readonly log: Log,
  ) {}

  /**
   * Resolves when the broker has all of them, however long that takes. Rejects only when the producer is closed; then
   * the lane's next owner goes on.
   */
  async dispatch(records: readonly OutboxRecord[], produce: RecordProducer): Promise<void> {
    const failed: OutboxRecord[] = [];
    const sent = records.map(async (record) => {
      try {
        await produce(this.outgoing(record));
      } catch (error) {
        if (error instanceof ConnectionClosedError) throw error;
        this.warn(record, error);
        failed.push(record);
      }
    });
    await Promise.all(sent);
    for (const record of failed) await this.insist(record, produce);
    this.ledger.markDispatched(records.map(({ id }) => id));
  }

  /**
   * Produces each of them once, and calls `acknowledged` with the id of each that the broker has taken. Never rejects:
   * the others are left to a sweep.
   */
  async offer(
    records: readonly OutboxRecord[],
    produce: RecordProducer,
    acknowledged: (id: string) => void,
  ): Promise<void> {
    const sent = records.map(async (record) => {
      try {
        await produce(this.outgoing(record));
        acknowledged(record.id);
      } catch (error) {
        if (!(error instanceof ConnectionClosedError)) this.warn(record, error);
      }
    });
    await Promise.all(sent);
  }

  private warn({ id, topic }: OutboxRecord, error: unknown): void {
    this.log.warn(`Outbox record ${id} to "${topic}" waits: ${describeError(error)}`);
  }

  private async insist(record: OutboxRecord, produce: RecordProducer): Promise<void> {
    for (let delay = 50; ; delay = Math.min(delay * 2, MAX_DELAY)) {
      await sleep(this.clock, delay);
      try {
        await produce(this.outgoing(record));
        return;
      } catch (error) {
        if (error instanceof ConnectionClosedError) throw error;
      }
    }
  }

  /**
   * The stable id goes out with the record, so that a durable consumer drops what was produced twice. A dead letter, or a
   * redriven record, keeps the ids of the record that it is about: they are as stable, and a key beside a message id would
   * make another message of it.
   */
  private outgoing({ id, topic, partition, key, value, headers }: OutboxRecord): OutgoingRecord {
    const has = (name: string) => headers.some(([other]) => other === name);
    const ids = has(MESSAGE_ID_HEADER)
      ? []
      : [MESSAGE_ID_HEADER, ...(this.keyHeader !== false && !has(this.keyHeader) ? [this.keyHeader] : [])];
    const own = ids.map((name): RecordHeader => [name, Buffer.from(id)]);
    return { topic, partition: partition ?? undefined, key, value, headers: [...headers, ...own] };
  }
}
