import { integer, pgSchema } from 'drizzle-orm/pg-core';
import { schema } from './settings.js';

const own = pgSchema(schema);

export const stock = own.table('stock', {
  article: integer().primaryKey(),
  pieces: integer().notNull(),
});

/** Nothing is unique here: an order that was booked twice would be seen. */
export const bookings = own.table('booking', {
  order: integer('order_id').notNull(),
  pieces: integer().notNull(),
});

export const createTables = `
  create schema ${schema};
  create table ${schema}.stock (article integer primary key, pieces integer not null);
  create table ${schema}.booking (order_id integer not null, pieces integer not null);
`;
export const dropTables = `drop schema if exists ${schema} cascade`;
