import type { ModulesContainer } from '@nestjs/core';
import { ServerKafka } from '../transport/server-kafka.js';

/** Tells an application's servers for how long the ledger remembers keys, so that they can warn of topics that keep records longer. */
export function offerMemory(modules: ModulesContainer, retention: number): void {
  modules.getRpcTargetRegistry().subscribe((server: unknown) => {
    if (server instanceof ServerKafka) server.extend({ memory: retention });
  });
}
