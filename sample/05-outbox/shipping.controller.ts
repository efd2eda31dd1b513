import { Controller } from '@nestjs/common';
import { EventPattern, Payload } from '@nestjs/microservices';
import { DurableExecution } from 'nestjs-durable-kafka';
import type { Order } from './checkout.service.js';
import { schema, topics } from './settings.js';

/** Might as well be another service. */
@Controller()
export class ShippingController {
  constructor(private readonly durable: DurableExecution) {}

  @EventPattern<string>(topics.placed)
  async placed(@Payload() { id }: Order) {
    await this.durable.client.query(`insert into ${schema}.shipped (id) values ($1)`, [id]);
    console.log(`shipped ${id}`);
  }
}
