import { Controller, Injectable } from '@nestjs/common';
import { EventPattern, MessagePattern, Payload } from '@nestjs/microservices';
import pg from 'pg';
import { DurableLedger, DurablePool } from '../../../lib/index.js';
import { deferred } from '../../../lib/runtime/deferred.js';
import { DurableWorld, valueOf } from '../../support/durable-app.js';
import { eventually } from '../../support/eventually.js';

describe('DurablePool', () => {
  let world: DurableWorld;
  let handle: (pool: DurablePool, id: string) => Promise<unknown>;

  @Controller()
  class Handlers {
    constructor(readonly pool: DurablePool) {}

    @EventPattern('t')
    onT(@Payload() id: string) {
      return handle(this.pool, id);
    }
  }

  @Injectable()
  class Outside {
    constructor(
      readonly pool: DurablePool,
      readonly ledger: DurableLedger,
    ) {}
  }

  const write = (querier: { query: pg.Pool['query'] }, text: string) =>
    querier.query(`insert into "${world.schema}".effect (text) values ($1)`, [text]);

  /** Runs one handler to its end; resolves with what it returned, or threw in its last attempt. */
  const inHandler = async (work: (pool: DurablePool) => Promise<unknown>) => {
    let outcome: unknown;
    handle = async (pool) => {
      try {
        outcome = await work(pool);
      } catch (error) {
        outcome = error;
        throw error;
      }
    };
    const app = await world.start({ controllers: [Handlers], providers: [Outside] });
    world.kafka.produce('t', { value: '1' });
    await world.consumed('t');
    return { outcome, app };
  };

  beforeEach(async () => {
    world = await DurableWorld.create();
  });

  afterEach(() => world.dispose());

  it('runs queries in the message’s transaction, by whatever way they come', async () => {
    const { outcome } = await inHandler(async (pool) => {
      await write(pool, 'a');
      await new Promise<void>((resolve, reject) =>
        pool.query(`insert into "${world.schema}".effect (text) values ('b')`, (error) =>
          error ? reject(error) : resolve(),
        ),
      );
      const client = await pool.connect();
      await write(client, 'c');
      client.release();
      client.release();
      await new Promise<void>((resolve, reject) =>
        pool.connect((error, other, release) => {
          if (error || !other) return reject(error!);
          write(other, 'd').then(() => (release(), resolve()), reject);
        }),
      );
      expect(await world.effects()).toEqual([]);
      const ids = await Promise.all(
        [pool, pool].map((each) => each.query<{ id: string }>('select pg_current_xact_id()::text as id')),
      );
      return new Set(ids.map(({ rows }) => rows[0]!.id)).size;
    });
    expect(outcome).toBe(1);
    expect(await world.effects()).toEqual(['a', 'b', 'c', 'd']);
  });

  it('leaves nothing of a handler that fails between two writes', async () => {
    let failures = 2;
    const seen: string[][] = [];
    handle = async (pool, id) => {
      seen.push(await world.effects());
      await write(pool, `first ${id}`);
      if (failures-- > 0) throw new Error('between');
      await write(pool, `second ${id}`);
    };
    await world.start({ controllers: [Handlers] });
    world.kafka.produce('t', { value: '1' });
    await world.consumed('t');
    expect(seen).toEqual([[], [], []]);
    expect(await world.effects()).toEqual(['first 1', 'second 1']);
  });

  it('makes savepoints of nested transactions, also inside each other', async () => {
    await inHandler(async (pool) => {
      const client = await pool.connect();
      expect((await client.query('BEGIN')).command).toBe('BEGIN');
      await write(client, 'kept');
      await client.query('begin');
      await write(client, 'undone');
      await expect(client.query('select no_such_column')).rejects.toThrow();
      expect((await client.query('ROLLBACK')).command).toBe('ROLLBACK');
      await write(client, 'kept too');
      expect((await client.query('COMMIT')).command).toBe('COMMIT');
      await client.query('begin');
      await write(client, 'undone');
      await client.query('rollback');
      client.release();
      await pool.query('begin');
      await write(pool, 'by the pool');
      await pool.query('commit');
      expect(await world.effects()).toEqual([]);
    });
    expect(await world.effects()).toEqual(['kept', 'kept too', 'by the pool']);
  });

  it('has others wait for a nested transaction, so that its rollback does not undo their work', async () => {
    const { outcome } = await inHandler(async (pool) => {
      const transaction = async (name: string, end: 'commit' | 'rollback') => {
        const client = await pool.connect();
        await client.query('begin');
        await write(client, `${name} 1`);
        await write(client, `${name} 2`);
        await client.query(end);
        client.release();
      };
      await Promise.all([
        transaction('a', 'rollback'),
        transaction('b', 'commit'),
        write(pool, 'plain'),
        transaction('c', 'rollback'),
        write(pool, 'plain'),
      ]);
    });
    expect(outcome).toBeUndefined();
    expect((await world.effects()).sort()).toEqual(['b 1', 'b 2', 'plain', 'plain']);
  });

  it('refuses a query that waits for a nested transaction which waits for it', async () => {
    const { outcome } = await inHandler(async (pool) => {
      const client = await pool.connect();
      await client.query('begin');
      const error = await write(pool, 'x').catch((caught: Error) => caught);
      await client.query('rollback');
      client.release();
      return error;
    });
    expect(String(outcome)).toMatch(/waited 5000 ms for a nested transaction.*use its own client/);
  });

  it('rolls back what a released client left open, and fails a handler that leaves something open', async () => {
    const { outcome } = await inHandler(async (pool) => {
      const client = await pool.connect();
      await client.query('begin');
      await write(client, 'undone');
      client.release();
      await write(pool, 'kept');
      return client.query('select 1').catch((error: Error) => error.message);
    });
    expect(outcome).toMatch(/released/);
    expect(await world.effects()).toEqual(['kept']);

    handle = async (pool) => {
      const client = await pool.connect();
      await client.query('begin');
      await write(client, 'never');
    };
    world.kafka.produce('t', { value: '2' });
    await world.consumed('t');
    expect((await world.executions())[0]).toMatchObject({ state: 'dead', error_name: 'WrongCallOrderError' });
    expect(await world.effects()).toEqual(['kept']);
  });

  it('refuses other isolation levels, and says why', async () => {
    const { outcome } = await inHandler(async (pool) => {
      const client = await pool.connect();
      const error = await client
        .query('begin isolation level serializable')
        .catch((caught: Error) => caught.message);
      client.release();
      return error;
    });
    expect(outcome).toMatch(/isolation level serializable.*READ COMMITTED/);
  });

  it('refuses queries after the handler’s end', async () => {
    const [go, late] = [deferred(), deferred<unknown>()];
    await inHandler(async (pool) => {
      const client = await pool.connect();
      void go.promise
        .then(() => Promise.allSettled([write(pool, 'late'), write(client, 'late'), pool.connect()]))
        .then(late.resolve);
    });
    go.resolve();
    expect(await late.promise).toEqual(
      [1, 2, 3].map(() => ({
        status: 'rejected',
        reason: expect.objectContaining({ message: expect.stringContaining('a promise is floating') }),
      })),
    );
    expect(await world.effects()).toEqual([]);
  });

  it('outside handlers is an ordinary pool, and within DurableLedger.transaction a part of it', async () => {
    const app = await world.start({ controllers: [Handlers], providers: [Outside] });
    const { pool, ledger } = app.get(Outside);
    const client = await pool.connect();
    await client.query('begin isolation level serializable');
    await write(client, 'undone');
    await write(pool, 'kept');
    await client.query('rollback');
    client.release();
    expect(await world.effects()).toEqual(['kept']);
    await expect(
      ledger.transaction(async () => {
        await write(pool, 'undone');
        throw new Error('no');
      }),
    ).rejects.toThrow('no');
    expect(await world.effects()).toEqual(['kept']);
  });

  it('uses a pool that was given, and leaves it open', async () => {
    const given = new pg.Pool({ connectionString: world.connection.connection as string, max: 12 });
    try {
      handle = (pool, id) => write(pool, id);
      const app = await world.start({
        controllers: [Handlers],
        providers: [Outside],
        durable: { connection: given },
      });
      world.kafka.produce('t', { value: 'inside' });
      await world.consumed('t');
      await write(app.get(Outside).pool, 'outside');
      await world.closeAll();
      expect((await given.query('select 1')).rowCount).toBe(1);
      expect(await world.effects()).toEqual(['inside', 'outside']);
    } finally {
      await given.end();
    }
  });

  it('answers requests with what a transaction that is not committed sees', async () => {
    @Controller()
    class Asked {
      constructor(private readonly pool: DurablePool) {}

      @MessagePattern('ask')
      async ask() {
        await write(this.pool, 'seen');
        const { rows } = await this.pool.query<{ n: string }>(
          `select count(*) as n from "${world.schema}".effect`,
        );
        return { n: Number(rows[0]!.n) };
      }
    }
    await world.start({ controllers: [Asked] });
    world.request('ask', {});
    await eventually(() => world.replies('ask').length === 1);
    expect(valueOf(world.replies('ask')[0]!)).toEqual({ n: 1 });
  });
});
