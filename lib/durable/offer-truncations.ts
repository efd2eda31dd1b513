import type { ModulesContainer } from '@nestjs/core';
import { Truncations } from '../execution/truncations.js';
import type { Log } from '../runtime/log.js';
import { ServerKafka } from '../transport/server-kafka.js';
import type { DurableCore } from './group-enlistment.js';

/** Has the ledger follow where a partition's log lost its end under one of an application's servers. */
export function offerTruncations(modules: ModulesContainer, { ledger, fences }: DurableCore, log: Log): void {
  const truncations = new Truncations(ledger, fences, log);
  modules.getRpcTargetRegistry().subscribe((server: unknown) => {
    if (!(server instanceof ServerKafka)) return;
    server.extend({
      followLostEnd({ group, partition: { topicId, partition, rebalanceId }, end, confirm, produce }) {
        return truncations.follow({ group, topicId, partition }, end, { rebalanceId, confirm, produce });
      },
    });
  });
}
