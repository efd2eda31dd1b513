import { Kafka, logLevel } from 'kafkajs';
import pg from 'pg';
import { within } from './wait-for.js';

/**
 * Resolves to the cluster id when a broker answers and, with `groups`, when it coordinates groups too: the first group of
 * a new cluster would otherwise wait for the offsets topic to be made. With `nodes` it knows so many brokers.
 */
export async function kafkaAnswers(
  brokers: string[],
  options: { groups?: boolean; nodes?: number } = {},
): Promise<string> {
  const kafka = new Kafka({
    clientId: 'start-servers',
    brokers,
    connectionTimeout: 1_000,
    requestTimeout: 3_000,
    logLevel: logLevel.NOTHING,
    retry: { retries: 0 },
  });
  const admin = kafka.admin();
  const ask = async () => {
    await admin.connect();
    const { brokers: members, clusterId } = await admin.describeCluster();
    const { nodes = 1 } = options;
    if (members.length < nodes) throw new Error(`${members.length} of ${nodes} brokers are registered yet`);
    if (options.groups) await admin.describeGroups(['start-servers']);
    return clusterId;
  };
  try {
    return await within(5_000, brokers.join(','), ask());
  } finally {
    await admin.disconnect().catch(() => undefined);
  }
}

/** Resolves to the server's `cluster_name` when the database answers. */
export async function postgresAnswers(url: string): Promise<string> {
  const client = new pg.Client({
    connectionString: url,
    connectionTimeoutMillis: 3_000,
    query_timeout: 3_000,
  });
  client.on('error', () => undefined); // the query rejects with it
  try {
    await client.connect();
    const { rows } = await client.query<{ cluster_name: string }>('SHOW cluster_name');
    return rows[0]?.cluster_name ?? '';
  } finally {
    await client.end().catch(() => undefined);
  }
}
