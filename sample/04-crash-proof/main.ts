/** Program. Has a service killed while it works, again and again, and counts what it wrote. */
import { fork, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { ClientKafkaProxy } from 'nestjs-durable-kafka';
import pg from 'pg';
import { lastValueFrom } from 'rxjs';
import { startServers } from '../servers/index.js';
import { KILLS, TRANSFERS, type Assignment } from './names.js';

// Names of this run's own, so that the sample can be run again and again on one broker and one database.
const run = randomBytes(3).toString('hex');
const schema = `sample_${run}`;
const topic = `sample.${run}.transfer.ordered`;

const servers = await startServers({ log: console.log });
const { brokers, databaseUrl } = servers;
const assignment: Assignment = { brokers, databaseUrl, schema, topic, group: `sample-crash-${run}` };
const start = () => fork(new URL('service.js', import.meta.url), [JSON.stringify(assignment)]);
const database = new pg.Pool({ connectionString: databaseUrl });
const events = new ClientKafkaProxy({ client: { brokers }, producerOnlyMode: true });
let service: ChildProcess | undefined;

/** The transfers of which something is to be seen, and how many rows there are of them. */
async function booked(): Promise<{ transfers: number; rows: number }> {
  const counts = `select count(distinct transfer)::int as transfers, count(*)::int as rows from ${schema}.booking`;
  return (await database.query<{ transfers: number; rows: number }>(counts)).rows[0]!;
}

async function untilBooked(transfers: number): Promise<void> {
  while ((await booked()).transfers < transfers) await sleep(10);
}

try {
  await database.query(
    `create schema ${schema}; create table ${schema}.booking (transfer integer, account text, cents integer)`,
  );
  const messages = Array.from({ length: TRANSFERS }, (_, index) => ({
    value: { id: index + 1, cents: 100 },
  }));
  await lastValueFrom(events.emitBatch(topic, { messages }));

  for (let kill = 1; kill <= KILLS; kill++) {
    service = start();
    await untilBooked(kill * 60);
    service.kill('SIGKILL');
    await once(service, 'exit');
    console.log(`killed after ${(await booked()).transfers} transfers`);
  }
  service = start();
  await untilBooked(TRANSFERS);
  service.kill('SIGTERM');
  await once(service, 'exit');

  const { transfers, rows } = await booked();
  const verdict =
    rows === 2 * transfers ? 'each booked once' : `but ${rows} bookings instead of ${2 * transfers}`;
  console.log(`${transfers} transfers, ${verdict}, by a service that was killed ${KILLS} times.`);
} finally {
  service?.kill('SIGKILL');
  await events.close();
  await database.query(`drop schema if exists ${schema} cascade`);
  await database.end();
  await servers.stop();
}
