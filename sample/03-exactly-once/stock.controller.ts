import { Controller } from '@nestjs/common';
import { EventPattern, Payload } from '@nestjs/microservices';
import { eq, sql } from 'drizzle-orm';
import { drizzle, type NodePgDatabase } from 'drizzle-orm/node-postgres';
import { DurableExecution, DurablePool } from 'nestjs-durable-kafka';
import { topics } from './settings.js';
import { bookings, stock } from './tables.js';

interface Purchase {
  order: number;
  article: number;
  pieces: number;
}

@Controller()
export class StockController {
  private readonly db: NodePgDatabase;

  /** Through this pool, whatever Drizzle does in a handler is part of the message's transaction. */
  constructor(
    pool: DurablePool,
    private readonly durable: DurableExecution,
  ) {
    this.db = drizzle(pool);
  }

  @EventPattern<string>(topics.bought)
  async bought(@Payload() { order, article, pieces }: Purchase) {
    await this.db
      .update(stock)
      .set({ pieces: sql`${stock.pieces} - ${pieces}` })
      .where(eq(stock.article, article));
    // The stock was changed already: without the transaction, the next attempt would take the pieces once more.
    if (order === 3 && this.durable.attempt === 1) throw new Error('a bad moment, between two writes');
    await this.db.insert(bookings).values({ order, pieces });
    console.log(
      `booked order ${order}${this.durable.attempt > 1 ? `, attempt ${this.durable.attempt}` : ''}`,
    );
  }
}
