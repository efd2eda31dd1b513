/** Program. Opens a ledger, works with it once, closes it, and says so; each line of its log is printed with its level. */
import type * as Postgres from '../../../../lib/postgres/postgres-ledger.js';
import type { Log } from '../../../../lib/runtime/log.js';
import { SETTINGS_VARIABLE, type LedgerSettings } from './ledger-settings.js';

// Inner parts come from the package's own files, as users run them.
const path = new URL('./postgres/postgres-ledger.js', import.meta.resolve('nestjs-durable-kafka'));
const { PostgresLedger } = (await import(path.href)) as typeof Postgres;

const { connection, schema, partition } = JSON.parse(process.env[SETTINGS_VARIABLE]!) as LedgerSettings;
const print = (level: keyof Log) => (message: string) => console.log(`${level}: ${message}`);
const log: Log = { error: print('error'), warn: print('warn'), log: print('log'), debug: print('debug') };

const ledger = new PostgresLedger({ connection, schema, log });
await ledger.open();
const lane = {
  scope: { group: 'starting', handler: 'all' },
  topic: 'starting',
  topicId: '0b6f0f2e-0000-4000-8000-000000000001',
  partition,
};
const { fence } = await ledger.takeFence(lane, () => Promise.resolve(true));
const transaction = ledger.transaction();
const executions = [{ key: Buffer.from(`g${partition}`), fingerprint: 1n, offset: 0n }];
await transaction.claim({ fence, advanceTo: 1n, executions });
await transaction.commit({ releases: [], replies: [], outbox: [] });
await ledger.close();
console.log('worked');
