import { Controller } from '@nestjs/common';
import { EventPattern, MessagePattern, Payload } from '@nestjs/microservices';
import { DurableExecution, KafkaTerminalException } from 'nestjs-durable-kafka';
import { TaxService } from './tax.service.js';

export interface Order {
  id: string;
  country: string;
  net: number;
}

/** The handlers under test. */
@Controller()
export class InvoicesController {
  constructor(
    private readonly durable: DurableExecution,
    private readonly tax: TaxService,
  ) {}

  @EventPattern('order.placed')
  async placed(@Payload() { id, country, net }: Order) {
    if (net < 0) throw new KafkaTerminalException('An order has no negative price');
    const gross = net * (1 + (await this.tax.rate(country)));
    await this.durable.emit('invoice.created', { key: id, value: { order: id, gross } });
  }

  @MessagePattern('tax.rate')
  async rate(@Payload() country: string) {
    return { country, rate: await this.tax.rate(country) };
  }
}
