/**
 * Program. A DBOS workflow for each record, with the insert as its one step. In plain JavaScript, since it is compiled
 * nowhere: its packages are those of this folder alone.
 */
import { Buffer } from 'node:buffer';
import { DBOS } from '@dbos-inc/dbos-sdk';
import { KafkaReceiver } from '@dbos-inc/kafkajs-receive';
import pg from 'pg';
import { effectOf } from '../../dist/test/bench/subjects/effects.js';
import { Meter } from '../../dist/test/bench/subjects/meter.js';
import { readSettings, tell } from '../../dist/test/bench/subjects/settings.js';

const settings = readSettings();
const meter = new Meter(settings);
meter.countStatements(pg.Client);
const effect = effectOf(settings.schema, settings.instance);
const pool = new pg.Pool({ connectionString: settings.databaseUrl, max: 14 });

async function onOrder(topic, partition, message) {
  const order = JSON.parse(Buffer.from(message.value).toString());
  await DBOS.runStep(() => pool.query(effect(order, partition)), { name: 'insert' });
  meter.handled();
}

const receiver = new KafkaReceiver({ brokers: settings.brokers, logLevel: 1 });
receiver.registerConsumer(DBOS.registerWorkflow(onOrder), settings.topic, {
  ordering: settings.options.ordering,
  config: { groupId: settings.groupId },
});
DBOS.setConfig({
  name: 'bench',
  systemDatabaseUrl: settings.databaseUrl,
  systemDatabaseSchemaName: settings.ownSchema,
  logLevel: 'error',
  runAdminServer: false,
});
await DBOS.launch();
tell({ ready: true });
process.once('SIGTERM', () => {
  void DBOS.shutdown()
    .then(() => pool.end())
    .then(() => process.exit(0));
});
