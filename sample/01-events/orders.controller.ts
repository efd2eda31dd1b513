import { Controller, Inject } from '@nestjs/common';
import { Ctx, EventPattern, Payload } from '@nestjs/microservices';
import { ClientKafkaProxy, type KafkaDeliveryContext } from 'nestjs-durable-kafka';
import { lastValueFrom } from 'rxjs';
import { Progress } from './progress.js';
import { topics } from './settings.js';

interface Order {
  id: number;
  total: number;
}

@Controller()
export class OrdersController {
  constructor(
    @Inject('EVENTS') private readonly events: ClientKafkaProxy,
    private readonly progress: Progress,
  ) {}

  /** Two handlers, one topic: both are called for each order, and each is retried by itself. */
  @EventPattern<string>(topics.placed)
  async bill(@Payload() order: Order, @Ctx() context: KafkaDeliveryContext) {
    if (order.id === 2 && context.attempt === 1) throw new Error('the billing service is not in the mood');
    console.log(
      `billed  order ${order.id}: ${order.total}${context.attempt > 1 ? `, attempt ${context.attempt}` : ''}`,
    );
    await lastValueFrom(
      this.events.emit(topics.billed, { key: String(order.id), value: { orderId: order.id } }),
    );
  }

  @EventPattern<string>(topics.placed)
  count(@Payload() { id, total }: Order) {
    this.progress.counted(id, total);
  }

  @EventPattern<string>(topics.billed)
  ship(@Payload('orderId') orderId: number) {
    console.log(`shipped order ${orderId}`);
    this.progress.shipped(orderId);
  }
}
