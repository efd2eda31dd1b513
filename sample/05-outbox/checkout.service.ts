import { Injectable } from '@nestjs/common';
import { DurableExecution, DurableLedger } from 'nestjs-durable-kafka';
import { schema, topics } from './settings.js';

export interface Order {
  id: string;
  total: number;
}

/** What an HTTP controller would call. No message is being handled here: the transaction is this service's own. */
@Injectable()
export class CheckoutService {
  constructor(
    private readonly ledger: DurableLedger,
    private readonly durable: DurableExecution,
  ) {}

  /** The order and its event, or neither: there is no moment in which one of them exists without the other. */
  place(order: Order): Promise<string> {
    return this.ledger.transaction(async (client) => {
      await client.query(`insert into ${schema}.placed (id, total) values ($1, $2)`, [order.id, order.total]);
      await this.durable.emit(topics.placed, { key: order.id, value: order });
      await this.charge(order);
      return order.id;
    });
  }

  private charge({ id, total }: Order): Promise<void> {
    return total > 1_000 ? Promise.reject(new Error(`the bank refuses ${id}`)) : Promise.resolve();
  }
}
