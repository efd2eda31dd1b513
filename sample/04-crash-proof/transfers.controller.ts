import { setTimeout as sleep } from 'node:timers/promises';
import { Controller, type Type } from '@nestjs/common';
import { EventPattern, Payload } from '@nestjs/microservices';
import { DurableExecution } from 'nestjs-durable-kafka';
import type { Assignment } from './names.js';

interface Transfer {
  id: number;
  cents: number;
}

export function transfersController({ schema, topic }: Assignment): Type {
  @Controller()
  class TransfersController {
    constructor(private readonly durable: DurableExecution) {}

    /** Takes and gives. Whoever is killed in between has done neither. */
    @EventPattern<string>(topic)
    async transfer(@Payload() { id, cents }: Transfer) {
      const book = `insert into ${schema}.booking (transfer, account, cents) values ($1, $2, $3)`;
      await this.durable.client.query(book, [id, 'debit', -cents]);
      await sleep(5);
      await this.durable.client.query(book, [id, 'credit', cents]);
    }
  }
  return TransfersController;
}
