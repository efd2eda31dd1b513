import { createServer, type AddressInfo } from 'node:net';
import pg from 'pg';
import {
  ConnectionClosedError,
  InvalidOptionError,
  LedgerUnreachableError,
} from '../../../lib/errors/errors.js';
import { isInfrastructureError } from '../../../lib/errors/infrastructure.js';
import { PostgresLedger } from '../../../lib/postgres/postgres-ledger.js';
import { silentLog } from '../../../lib/runtime/log.js';
import { eventually } from '../../support/eventually.js';
import { always, claimOf, newLane, nothing } from '../../support/ledger-lane.js';
import { databaseUrl, LedgerSchema } from '../../support/ledger-schema.js';

describe('the ledger’s connections', () => {
  let schema: LedgerSchema;
  beforeEach(() => {
    schema = new LedgerSchema();
  });
  afterEach(() => schema.dispose());

  async function failure(promise: Promise<unknown>): Promise<Error> {
    const error: unknown = await promise.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error).toBeInstanceOf(Error);
    return error as Error;
  }

  /** Everything that a log or a crash report might show of an error. */
  function printed(error: unknown): string {
    let text = '';
    for (let current = error; current instanceof Error; current = current.cause) {
      text += `${current.stack}\n${JSON.stringify(current)}\n${Object.values(current).map(String).join()}\n`;
    }
    return text;
  }

  it('refused for a wrong password name server, database and user, and never the password', async () => {
    const url = new URL(databaseUrl());
    url.password = 'wr0ng-s3cret';
    const error = await failure(schema.open({ connection: url.href }));
    expect(error).toBeInstanceOf(LedgerUnreachableError);
    expect(error.message).toContain(`${url.hostname}:${url.port}/${url.pathname.slice(1)}`);
    expect(error.message).toContain(`user "${url.username}"`);
    expect((error.cause as { code: string }).code).toBe('28P01');
    expect(printed(error)).not.toContain('wr0ng-s3cret');
  });

  it('to a database that does not exist say so', async () => {
    const url = new URL(databaseUrl());
    url.pathname = '/no_such_database';
    const error = await failure(schema.open({ connection: url.href }));
    expect(error).toBeInstanceOf(LedgerUnreachableError);
    expect(error.message).toContain('no_such_database');
  });

  it('to a server that is not there fail with one clear error', async () => {
    const target = new URL(databaseUrl());
    const port = await freePort();
    const connection = {
      host: '127.0.0.1',
      port,
      user: target.username,
      password: 'wr0ng-s3cret',
      database: 'x',
    };
    const error = await failure(schema.open({ connection }));
    expect(error).toBeInstanceOf(LedgerUnreachableError);
    expect(isInfrastructureError(error)).toBe(true);
    expect(error.message).toContain(`127.0.0.1:${port}/x`);
    expect(printed(error)).not.toContain('wr0ng-s3cret');
  });

  it('to a server that never answers give up after their timeout', async () => {
    // Reads on: a socket whose end is not read stays open.
    const server = createServer((socket) => socket.on('error', () => undefined).resume());
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const error = await failure(
      schema.open({
        connection: { host: '127.0.0.1', port, user: 'u', database: 'd', connectionTimeoutMillis: 300 },
      }),
    );
    expect(error).toBeInstanceOf(LedgerUnreachableError);
    server.close();
  });

  it('by a string that is no connection string are refused without printing it', async () => {
    const error = await failure(
      schema.open({ connection: 'postgres://user:wr0ng-s3cret@host:not-a-port/x' }),
    );
    expect(error).toBeInstanceOf(InvalidOptionError);
    expect(printed(error)).not.toContain('wr0ng-s3cret');
  });

  it('to a read-only server are refused', async () => {
    const readOnly = { connectionString: databaseUrl(), options: '-c default_transaction_read_only=on' };
    const error = await failure(schema.open({ connection: readOnly }));
    expect(error).toBeInstanceOf(LedgerUnreachableError);
    expect(error.message).toMatch(/read-only.*primary/);
  });

  it('carry the application’s name', async () => {
    const ledger = await schema.open({ applicationName: 'billing-service' });
    const { rows } = await ledger.pool.query<{ name: string }>(
      `select current_setting('application_name') as name`,
    );
    expect(rows).toEqual([{ name: 'billing-service' }]);
  });

  it('that break inside a transaction say so, and the pool is healthy afterwards', async () => {
    const ledger = await schema.open({ poolSize: 1 });
    await schema.createEffects();
    const { fence } = await ledger.takeFence(newLane(), always);
    for (const moment of ['idle', 'in a query', 'at commit']) {
      const transaction = ledger.transaction();
      await transaction.claim({ fence, advanceTo: 1n, executions: [claimOf('a')] });
      await transaction.client.query(`insert into ${schema.quoted}.effect values ('lost')`);
      const { rows } = await transaction.client.query<{ pid: number }>('select pg_backend_pid() as pid');
      if (moment === 'in a query') {
        const sleeping = transaction.client.query('select pg_sleep(30)');
        const handlers = failure(sleeping);
        await endBackend(rows[0]!.pid);
        expect(isInfrastructureError(await handlers)).toBe(true);
        expect(transaction.broken).toBe(true);
        await transaction.rollback();
      } else {
        await endBackend(rows[0]!.pid);
        if (moment === 'idle') await eventually(() => transaction.broken);
        const error = await failure(transaction.commit(nothing));
        // Whether the loss was noticed before or after COMMIT was sent, it is infrastructure and retried.
        expect(isInfrastructureError(error)).toBe(true);
        if (moment === 'idle') expect(error).toBeInstanceOf(LedgerUnreachableError);
        expect(transaction.broken).toBe(true);
      }
      await ledger.ping();
      expect(await schema.effects()).toEqual([]);
    }
    expect(ledger.pool.totalCount).toBe(1);
  });

  it('that break while idle neither end the process nor fail the next call', async () => {
    const lines: string[] = [];
    const ledger = await schema.open({
      poolSize: 1,
      log: { ...silentLog, warn: (line) => lines.push(line) },
    });
    const { rows } = await ledger.pool.query<{ pid: number }>('select pg_backend_pid() as pid');
    await endBackend(rows[0]!.pid);
    await eventually(() => lines.length > 0);
    expect(lines[0]).toMatch(/idle connection/);
    await ledger.ping();
  });

  it('that are all in use fail with a hint after the pool’s timeout', async () => {
    const ledger = await schema.open({
      connection: { connectionString: databaseUrl(), connectionTimeoutMillis: 3_000, max: 1 },
    });
    const { fence } = await ledger.takeFence(newLane(), always);
    const transaction = ledger.transaction();
    await transaction.claim({ fence, advanceTo: 1n, executions: [] });
    const error = await failure(ledger.ping());
    expect(error).toBeInstanceOf(LedgerUnreachableError);
    expect(error.message).toMatch(/pool size/);
    await transaction.rollback();
    await ledger.ping();
  });

  it('to a schema that is taken away are unreachable, not the handler’s fault', async () => {
    const ledger = await schema.open();
    const { fence } = await ledger.takeFence(newLane(), always);
    await schema.query(`alter schema {schema} rename to ${schema.schema}_away`);
    try {
      const claim = { fence, advanceTo: 1n, executions: [claimOf('a')] };
      expect(await failure(ledger.transaction().claim(claim))).toBeInstanceOf(LedgerUnreachableError);
    } finally {
      await schema.query(`alter schema ${schema.schema}_away rename to ${schema.schema}`);
    }
    await ledger.takeFence(fence.lane, always);
  });

  it('whose statements are canceled while they wait for a twin are not the handler’s fault', async () => {
    const ledger = await schema.open({
      connection: { connectionString: databaseUrl(), options: '-c statement_timeout=2000' },
    });
    const lane = newLane();
    const { fence } = await ledger.takeFence(lane, always);
    const { fence: otherFence } = await ledger.takeFence({ ...lane, partition: 1 }, always);
    const transaction = ledger.transaction();
    await transaction.claim({ fence, advanceTo: 1n, executions: [claimOf('a')] });
    const twin = ledger.transaction().claim({ fence: otherFence, advanceTo: 1n, executions: [claimOf('a')] });
    expect(await failure(twin)).toBeInstanceOf(LedgerUnreachableError);
    await transaction.commit(nothing);
  });

  it('make room for as many transactions as are reserved, unless somebody chose their number', async () => {
    const ledger = await schema.open();
    ledger.reserve(20);
    expect(ledger.pool.options.max).toBe(22);
    ledger.reserve(1);
    expect(ledger.pool.options.max).toBe(22);
    const chosen = await schema.open({ poolSize: 4 });
    chosen.reserve(2);
    expect(() => chosen.reserve(3)).toThrow(InvalidOptionError);
  });

  it('of a pool given are given back and never closed', async () => {
    const pool = new pg.Pool({ connectionString: databaseUrl(), max: 2 });
    const listeners = pool.listenerCount('error');
    const ledger = await schema.open({ connection: pool });
    const { fence } = await ledger.takeFence(newLane(), always);
    const transaction = ledger.transaction();
    await transaction.claim({ fence, advanceTo: 1n, executions: [claimOf('a')] });
    await transaction.commit(nothing);
    await ledger.close();
    expect(pool.idleCount).toBe(pool.totalCount);
    expect(pool.listenerCount('error')).toBe(listeners);
    expect((await pool.query('select 1 as one')).rows).toEqual([{ one: 1 }]);
    await pool.end();
  });

  it('are all closed by close(), also with a transaction open', async () => {
    const ledger = await schema.open({ applicationName: schema.schema });
    const { fence } = await ledger.takeFence(newLane(), always);
    const transaction = ledger.transaction();
    await transaction.claim({ fence, advanceTo: 1n, executions: [claimOf('a')] });
    await Promise.all([ledger.close(), ledger.close()]);
    await eventually(async () => {
      const rows = await schema.query('select 1 from pg_stat_activity where application_name = $1', [
        schema.schema,
      ]);
      return rows.length === 0;
    });
    await expect(transaction.commit(nothing)).rejects.toThrow(LedgerUnreachableError);
    await expect(ledger.ping()).rejects.toThrow(ConnectionClosedError);
    await expect(ledger.open()).rejects.toThrow(ConnectionClosedError);
  });

  it('tell what is the matter when the schema was dropped, or its privileges were taken away', async () => {
    const ledger = await schema.open();
    const { fence } = await ledger.takeFence(newLane(), always);
    await schema.query('alter schema {schema} rename to {gone}'.replace('{gone}', `"${schema.schema}_gone"`));
    try {
      const taken = ledger.takeFence(fence.lane, always);
      await expect(taken).rejects.toThrow(LedgerUnreachableError);
      await expect(taken).rejects.toThrow(/does not exist.*was dropped or renamed.*put it back/);
    } finally {
      await schema.query(`alter schema "${schema.schema}_gone" rename to {schema}`);
    }
    // It goes on by itself.
    await ledger.takeFence(fence.lane, always);
  });

  it('that read in binary are refused', async () => {
    // `pg` knows it, its types do not.
    const connection = { connectionString: databaseUrl(), ...{ binary: true } };
    await expect((async () => schema.open({ connection }))()).rejects.toThrow(InvalidOptionError);
  });

  it('need not have been opened to be closed', async () => {
    await new PostgresLedger({ connection: databaseUrl() }).close();
  });

  async function endBackend(pid: number): Promise<void> {
    await schema.query('select pg_terminate_backend($1)', [pid]);
    await eventually(async () => {
      return (await schema.query('select 1 from pg_stat_activity where pid = $1', [pid])).length === 0;
    });
  }
});

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
