import { Controller, type Type } from '@nestjs/common';
import { Ctx, EventPattern, KafkaContext, MessagePattern, Payload } from '@nestjs/microservices';
import { Effects, type Order } from './effects.js';
import type { Meter } from './meter.js';
import type { SubjectSettings } from './settings.js';

/** Makes a handler fail: gets the order, returns the error to throw. */
export type Failure = (order: Order) => Error | undefined;

/** The controller of both Nest subjects: they run exactly this. */
export function controllerFor(
  { work, topic }: SubjectSettings,
  meter: Meter,
  failure: Failure = () => undefined,
): Type<unknown> {
  @Controller()
  class InsertController {
    constructor(private readonly effects: Effects) {}

    @EventPattern<string>(topic)
    async onOrder(@Payload() order: Order, @Ctx() context: KafkaContext): Promise<void> {
      const error = failure(order);
      if (error === undefined) await this.effects.insert(order, context);
      meter.handled();
      if (error !== undefined) throw error;
    }
  }

  @Controller()
  class EmptyController {
    @EventPattern(topic)
    onOrder(_order: object): void {
      meter.handled();
    }
  }

  @Controller()
  class EchoController {
    @MessagePattern(topic)
    onRequest(@Payload() order: Order): Order {
      meter.handled();
      return order;
    }
  }

  @Controller()
  class EchoInsertController {
    constructor(private readonly effects: Effects) {}

    @MessagePattern(topic)
    async onRequest(@Payload() order: Order, @Ctx() context: KafkaContext): Promise<Order> {
      await this.effects.insert(order, context);
      meter.handled();
      return order;
    }
  }

  return {
    insert: InsertController,
    inbox: InsertController,
    empty: EmptyController,
    echo: EchoController,
    'echo-insert': EchoInsertController,
  }[work];
}
