import { Module } from '@nestjs/common';
import { DurableModule } from 'nestjs-durable-kafka';
import { CheckoutService } from './checkout.service.js';
import { schema } from './settings.js';
import { ShippingController } from './shipping.controller.js';

/** @param databaseUrl known only once the server runs. */
export function appModule(databaseUrl: string) {
  @Module({
    imports: [DurableModule.forRoot({ connection: databaseUrl, schema })],
    controllers: [ShippingController],
    providers: [CheckoutService],
  })
  class AppModule {}
  return AppModule;
}
