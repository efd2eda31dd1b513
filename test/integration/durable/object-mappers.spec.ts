import { Controller } from '@nestjs/common';
import { EventPattern, Payload } from '@nestjs/microservices';
import { PrismaPg } from '@prisma/adapter-pg';
import { sql as drizzleSql } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/node-postgres';
import { bigserial, pgSchema, text } from 'drizzle-orm/pg-core';
import { Kysely, PostgresDialect, sql as kyselySql } from 'kysely';
import { DataSource, EntitySchema } from 'typeorm';
import pg from 'pg';
import { DurablePool } from '../../../lib/index.js';
import { DurableWorld } from '../../support/durable-app.js';
import { eventually } from '../../support/eventually.js';

/** A mapper's way of doing what handlers do. */
interface Mapper {
  write(text: string): Promise<unknown>;
  /** Writes in a transaction of its own; rejects, and rolls back, if `error` is given. */
  nested(text: string, error?: Error): Promise<unknown>;
  /** In a transaction of its own, at an isolation level. */
  serializable(): Promise<unknown>;
  backend(): Promise<number>;
}

interface Effect {
  seq: string;
  text: string;
}

const mappers: Record<string, (pool: DurablePool, schema: string) => Mapper | Promise<Mapper>> = {
  Drizzle: (pool, schema) => {
    const effect = pgSchema(schema).table('effect', {
      seq: bigserial({ mode: 'number' }),
      text: text().notNull(),
    });
    const db = drizzle(pool);
    return {
      write: (value) => db.insert(effect).values({ text: value }),
      nested: (value, error) =>
        db.transaction(async (tx) => {
          await tx.insert(effect).values({ text: value });
          if (error) throw error;
        }),
      serializable: () => db.transaction(async () => undefined, { isolationLevel: 'serializable' }),
      backend: async () => {
        const { rows } = await db.execute<{ pid: number }>(drizzleSql`select pg_backend_pid() as pid`);
        return rows[0]!.pid;
      },
    };
  },
  Kysely: (pool, schema) => {
    const db = new Kysely<{ effect: { text: string } }>({
      dialect: new PostgresDialect({ pool }),
    }).withSchema(schema);
    return {
      write: (value) => db.insertInto('effect').values({ text: value }).execute(),
      nested: (value, error) =>
        db.transaction().execute(async (tx) => {
          await tx.insertInto('effect').values({ text: value }).execute();
          if (error) throw error;
        }),
      serializable: () =>
        db
          .transaction()
          .setIsolationLevel('serializable')
          .execute(async () => undefined),
      backend: async () => {
        const { rows } = await kyselySql<{ pid: number }>`select pg_backend_pid() as pid`.execute(db);
        return rows[0]!.pid;
      },
    };
  },
  // As Prisma's client drives it: the statements that end a transaction are the client's, and go through the adapter.
  "Prisma's pg adapter": async (pool, schema) => {
    const adapter = await new PrismaPg(pool).connect();
    const statement = (sql: string, ...args: string[]) => ({
      sql,
      args,
      argTypes: args.map(() => ({ scalarType: 'string' as const, arity: 'scalar' as const })),
    });
    const insert = (value: string) => statement(`insert into "${schema}".effect (text) values ($1)`, value);
    const transaction = async (
      work: (tx: Awaited<ReturnType<typeof adapter.startTransaction>>) => Promise<unknown>,
      level?: 'SERIALIZABLE',
    ) => {
      const tx = await adapter.startTransaction(level);
      try {
        await work(tx);
        await tx.executeRaw(statement('COMMIT'));
        await tx.commit();
      } catch (error) {
        await tx.executeRaw(statement('ROLLBACK'));
        await tx.rollback();
        throw error;
      }
    };
    return {
      write: (value) => adapter.executeRaw(insert(value)),
      nested: (value, error) =>
        transaction(async (tx) => {
          await tx.executeRaw(insert(value));
          if (error) throw error;
        }),
      serializable: () => transaction(async () => undefined, 'SERIALIZABLE'),
      backend: async () => {
        const { rows } = await adapter.queryRaw(statement('select pg_backend_pid() as pid'));
        return Number(rows[0]![0]);
      },
    };
  },
  TypeORM: async (pool, schema) => {
    const effect = new EntitySchema<Effect>({
      name: 'effect',
      schema,
      columns: { seq: { type: 'bigint', primary: true, generated: 'increment' }, text: { type: 'text' } },
    });
    // It makes its pool itself, by the `Pool` of the driver that it is given.
    const driver = {
      ...pg,
      Pool: function () {
        return pool;
      },
    };
    const source = await new DataSource({ type: 'postgres', driver, entities: [effect] }).initialize();
    return {
      write: (value) => source.getRepository(effect).insert({ text: value }),
      nested: (value, error) =>
        source.transaction(async (manager) => {
          await manager.getRepository(effect).insert({ text: value });
          if (error) throw error;
        }),
      serializable: () => source.transaction('SERIALIZABLE', async () => undefined),
      backend: async () => {
        const rows = await source.query<{ pid: number }[]>('select pg_backend_pid() as pid');
        return rows[0]!.pid;
      },
    };
  },
};

describe.each(Object.keys(mappers))('DurablePool under %s', (name) => {
  let world: DurableWorld;
  let mapper: Mapper;
  let handle: (id: string) => Promise<unknown>;

  @Controller()
  class Handlers {
    constructor(readonly pool: DurablePool) {}

    @EventPattern('t')
    onT(@Payload() id: string) {
      return handle(id);
    }
  }

  beforeEach(async () => {
    world = await DurableWorld.create();
    const app = await world.start({ controllers: [Handlers] });
    mapper = await mappers[name]!(app.get(Handlers).pool, world.schema);
  });

  afterEach(() => world.dispose());

  it('a crash between two writes leaves neither', async () => {
    const before: string[][] = [];
    handle = async () => {
      before.push(await world.effects());
      await mapper.write('first');
      if (before.length === 1) {
        // As Postgres sees it when the process dies.
        const pid = await mapper.backend();
        await world.pool.query('select pg_terminate_backend($1)', [pid]);
        await eventually(async () => {
          const { rowCount } = await world.pool.query('select 1 from pg_stat_activity where pid = $1', [pid]);
          return rowCount === 0;
        });
      }
      await mapper.write('second');
    };
    world.kafka.produce('t', { value: '1' });
    await world.consumed('t');
    expect(before).toEqual([[], []]);
    expect(await world.effects()).toEqual(['first', 'second']);
  });

  it('a nested transaction that fails leaves the rest of the handler, and commits only with it', async () => {
    let runs = 0;
    handle = async () => {
      runs++;
      await mapper.write('first');
      await mapper.nested('kept');
      await expect(mapper.nested('undone', new Error('no'))).rejects.toThrow('no');
      expect(await world.effects()).toEqual([]);
      if (runs === 1) throw new Error('after the nested COMMIT');
      await mapper.write('last');
    };
    world.kafka.produce('t', { value: '1' });
    await world.consumed('t');
    expect(runs).toBe(2);
    expect(await world.effects()).toEqual(['first', 'kept', 'last']);
  });

  it('nested transactions at once do not undo each other', async () => {
    handle = () =>
      Promise.allSettled([
        mapper.nested('a', new Error('no')),
        mapper.nested('b'),
        mapper.write('c'),
        mapper.nested('d', new Error('no')),
      ]);
    world.kafka.produce('t', { value: '1' });
    await world.consumed('t');
    expect((await world.effects()).sort()).toEqual(['b', 'c']);
  });

  it('another isolation level is refused with the reason; outside handlers it is not', async () => {
    let refusal: unknown;
    handle = async () => {
      refusal = await mapper.serializable().catch((error: unknown) => error);
    };
    world.kafka.produce('t', { value: '1' });
    await world.consumed('t');
    // Drizzle keeps the driver's error as the cause of its own.
    expect(String((refusal as Error).cause ?? refusal)).toMatch(/READ COMMITTED and READ WRITE/);
    await mapper.serializable();
    await mapper.nested('outside');
    expect(await world.effects()).toEqual(['outside']);
  });
});
