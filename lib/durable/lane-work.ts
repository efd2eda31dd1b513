import type { Delivery } from '../consumption/attempt.js';
import type { Group } from '../consumption/group.js';
import type { LaneLog } from '../execution/lane-log.js';
import type { LaneWork } from '../execution/prepared-lane.js';
import { recordKey, redrivenKey } from '../messages/idempotency-key.js';
import type { KafkaRecord, TopicPartition } from '../messages/record.js';
import { isFor, redriveOf } from '../messages/redrive-headers.js';
import { parserOf } from '../transport/nest-delivery-handler.js';
import type { DurableHandler } from './durable-metadata.accessor.js';
import { keyByFunction } from './key-function.js';

/**
 * What a group has to do for one of its handlers.
 * @param delivery any one of that handler's
 * @param keyHeader as `DurableModuleOptions.keyHeader`
 */
export function laneWork(
  group: Group,
  delivery: Delivery,
  handler: DurableHandler,
  keyHeader: string | false,
): LaneWork {
  const { deliveries, host, order } = group;
  const { topic, topicId, partition, rebalanceId } = delivery.partition;
  const own = deliveries.filter((other) => other.handler === delivery.handler);
  const records = own.map(({ record }) => record);
  const kinds = new Map(own.map(({ record, kind }) => [record, kind]));
  return {
    lane: { scope: { group: host.groupId, handler: handler.id }, topic, topicId, partition },
    holder: {
      rebalanceId,
      confirm: () => host.confirmMembership(),
      produce: (record) => host.produce(record),
      log: logOf(group, delivery.partition, records),
    },
    isShared: order.isShared || delivery.letter !== undefined,
    letter: delivery.letter?.sequence,
    maxLetters: host.parkingPolicy.maxLetters,
    records,
    kind: (record) => kinds.get(record)!,
    keyOf: (record, over = 0n) => {
      if (handler.key) return keyByFunction(record, handler, parserOf(delivery.handler));
      return redrivenKey(record, topicId, over) ?? recordKey(record, topicId, keyHeader);
    },
    isForOther: (record) => {
      const redrive = redriveOf(record);
      return redrive !== undefined && !isFor(redrive, { group: host.groupId, handler: handler.id });
    },
  };
}

function logOf(
  { host, progress }: Group,
  partition: TopicPartition,
  records: readonly KafkaRecord[],
): LaneLog {
  const epochs = records.flatMap(({ leaderEpoch }) => leaderEpoch ?? []);
  return {
    leaderEpoch: epochs.length > 0 ? Math.max(...epochs) : undefined,
    get position() {
      return progress.position;
    },
    endOf: (leaderEpoch) => host.endOfEpoch(partition, leaderEpoch),
  };
}
