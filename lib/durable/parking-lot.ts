import type { ModulesContainer } from '@nestjs/core';
import type { Delivery } from '../consumption/attempt.js';
import type { DueLetter, DueLetters, Parking, Postponed } from '../consumption/parking.js';
import { parkingDelay, type ParkingPolicy } from '../consumption/parking-policy.js';
import type { Ledger } from '../execution/ledger.js';
import type { DueHead } from '../execution/ledger-parking.js';
import type { TopicPartition } from '../messages/record.js';
import type { Clock } from '../runtime/clock.js';
import { ServerKafka } from '../transport/server-kafka.js';
import { boundedFacts } from './park.js';

/** The ledger as the place where a server's parked records wait. */
export class ParkingLot implements Parking {
  constructor(
    private readonly ledger: Ledger,
    private readonly clock: Clock,
    private readonly policy: ParkingPolicy,
  ) {}

  partitionsOf(group: string, partitions: readonly TopicPartition[]): Promise<TopicPartition[]> {
    return this.ledger.parking.partitionsOf(group, partitions);
  }

  async due(group: string, { topic, partition }: TopicPartition, limit: number): Promise<DueLetters> {
    const { heads, sequences, next } = await this.ledger.parking.due(group, topic, partition, limit);
    const now = this.clock.now();
    return {
      letters: heads.map((head) => dueLetter(head, now)),
      // Also where all are held: an operator may change that.
      next: sequences === 0 ? undefined : (next ?? Infinity),
    };
  }

  async postpone(group: string, delivery: Delivery, error: unknown): Promise<Postponed> {
    const { record, partition, failures } = delivery;
    const { handler, sequence, retries } = delivery.letter!;
    const lane = {
      scope: { group, handler },
      topic: record.topic,
      topicId: partition.topicId,
      partition: record.partition,
    };
    const retryAfter = parkingDelay(this.policy, retries + 1) ?? null;
    const { offset } = record;
    const facts = boundedFacts(error);
    await this.ledger.parking.postpone(lane, {
      sequence,
      offset,
      retries,
      failures,
      error: facts,
      retryAfter,
    });
    return retryAfter === null ? 'held' : 'waiting';
  }
}

/** Has the servers of an application park their records in its ledger. */
export function offerParking(modules: ModulesContainer, ledger: Ledger, clock: Clock): void {
  modules.getRpcTargetRegistry().subscribe((server: unknown) => {
    if (server instanceof ServerKafka)
      server.extend({ createParking: (policy) => new ParkingLot(ledger, clock, policy) });
  });
}

function dueLetter(
  { lane, order, sequence, retries, failures, age, ...bytes }: DueHead,
  now: number,
): DueLetter {
  const { topic, topicId, partition } = lane;
  const { offset, timestamp, key, value, headers } = bytes;
  return {
    letter: { handler: lane.scope.handler, sequence, retries, order },
    record: { topic, partition, offset, timestamp, key, value, headers },
    topicId,
    failures,
    firstFailure: age === undefined ? undefined : now - age,
  };
}
