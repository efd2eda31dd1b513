import type { RecordConsumer } from '../consumption/record-consumer.js';
import type { RecordMetadata } from '../messages/record.js';
import type { ResolvedOptions } from './resolve-options.js';

type Cluster = Pick<ResolvedOptions, 'brokers' | 'given'>;

interface LocalServer {
  readonly cluster: Cluster;
  readonly records: Pick<RecordConsumer, 'isYetToHandle'>;
}

/**
 * The servers that listen in this process. A client asks them what became of a request that nobody answers: it may wait
 * for the very handler that waits for its reply.
 */
const servers = new Set<LocalServer>();

/** Returns what forgets the server again. */
export function noteLocalServer(cluster: Cluster, records: LocalServer['records']): () => void {
  const server = { cluster, records };
  servers.add(server);
  return () => void servers.delete(server);
}

/** Whether the record lies in a partition that this process holds, and waits there for its handler to be called. */
export function waitsInThisProcess(cluster: Cluster, record: RecordMetadata): boolean {
  for (const server of servers) {
    if (isSame(server.cluster, cluster) && server.records.isYetToHandle(record)) return true;
  }
  return false;
}

/** Only what is told to be one is taken for it: the offsets of two clusters have nothing to do with each other. */
function isSame(one: Cluster, other: Cluster): boolean {
  if (one.given.driver || other.given.driver) return one.given.driver === other.given.driver;
  if (typeof one.brokers === 'function' || typeof other.brokers === 'function')
    return one.brokers === other.brokers;
  return [...one.brokers].sort().join() === [...other.brokers].sort().join();
}
