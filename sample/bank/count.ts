import type { Kafka } from 'kafkajs';
import type { Pool } from 'pg';
import { type BankTopics, type Offsets, type ReadRecord, readTopic } from './bank-topics.js';
import { readBooks } from './database.js';
import type { Names } from './names.js';
import type { Transfer, TransferBooked } from './services/messages.js';
import { balancesAfter } from './transfers.js';

/** What the database and the topics say after a run. Nothing here comes from the service's own counters. */
export interface Count {
  /** Different transfers in the topic. */
  readonly produced: number;
  /** Records in the topic: some transfers are produced twice. */
  readonly records: number;
  readonly journalLines: number;
  /** Transfers with a journal line. */
  readonly booked: number;
  /** Transfers with more than one. */
  readonly bookedTwice: number;
  /** Transfers without one. */
  readonly lost: number;
  /** By which the accounts exceed, all together, what the produced transfers make of them. */
  readonly moneyCreated: number;
  /** By which they fall short of it. */
  readonly moneyDestroyed: number;
  /**
   * Deliveries of a transfer beyond its first that left no line in the journal, out of those that are certain from
   * outside: one for each of its records, and one more for each record that was read again after the rewind.
   */
  readonly suppressed: number;
  /** Transfers in the journal that no event announces. */
  readonly unannounced: number;
  /** Transfers that more than one event announces. Events under one `message-id` count as one, as for any durable consumer. */
  readonly announcedTwice: number;
  /** Transfers that are announced and not booked. */
  readonly announcedFalsely: number;
}

export async function count(
  parts: { kafka: Kafka; topics: BankTopics; pool: Pool; names: Names },
  rewoundFrom: Offsets,
): Promise<Count> {
  const { kafka, topics, pool, names } = parts;
  const read = async (topic: string) => readTopic(kafka, topic, await topics.ends(topic));
  const [requested, events, books] = await Promise.all([
    read(names.topics.transferRequested),
    read(names.topics.transferBooked),
    readBooks(pool, names),
  ]);

  const transfers = new Map<number, Transfer>();
  const deliveries = new Map<number, number>();
  for (const { partition, offset, value } of requested) {
    const transfer = value as Transfer;
    transfers.set(transfer.id, transfer);
    const times = offset < (rewoundFrom.get(partition) ?? 0) ? 2 : 1;
    deliveries.set(transfer.id, (deliveries.get(transfer.id) ?? 0) + times);
  }
  const announced = announcements(events);
  const differences = balancesAfter(transfers.values()).map(
    (due, index) => (books.balances[index] ?? 0) - due,
  );
  const lines = (id: number) => books.lines.get(id) ?? 0;
  const ids = [...transfers.keys()];
  return {
    produced: transfers.size,
    records: requested.length,
    journalLines: total([...books.lines.values()]),
    booked: ids.filter((id) => lines(id) > 0).length,
    bookedTwice: ids.filter((id) => lines(id) > 1).length,
    lost: ids.filter((id) => lines(id) === 0).length,
    moneyCreated: total(differences.filter((difference) => difference > 0)),
    moneyDestroyed: total(differences.filter((difference) => difference < 0).map(Math.abs)),
    suppressed: total(ids.map((id) => Math.max(0, deliveries.get(id)! - Math.max(1, lines(id))))),
    unannounced: [...books.lines.keys()].filter((id) => !announced.has(id)).length,
    announcedTwice: [...announced.values()].filter((messages) => messages > 1).length,
    announcedFalsely: [...announced.keys()].filter((id) => !books.lines.has(id)).length,
  };
}

/** How many different messages announce each transfer. */
function announcements(events: readonly ReadRecord[]): Map<number, number> {
  const seen = new Set<string>();
  const announced = new Map<number, number>();
  for (const { value, messageId } of events) {
    if (messageId !== undefined && seen.has(messageId)) continue;
    if (messageId !== undefined) seen.add(messageId);
    const { transferId } = value as TransferBooked;
    announced.set(transferId, (announced.get(transferId) ?? 0) + 1);
  }
  return announced;
}

function total(numbers: readonly number[]): number {
  return numbers.reduce((sum, number) => sum + number, 0);
}
