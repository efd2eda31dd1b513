import { Module } from '@nestjs/common';
import { ClientsModule } from '@nestjs/microservices';
import { kafkaClient } from 'nestjs-durable-kafka';
import { OrdersController } from './orders.controller.js';
import { Progress } from './progress.js';

/** @param brokers addresses, known only once the servers run. */
export function appModule(brokers: string[]) {
  @Module({
    imports: [
      ClientsModule.register([kafkaClient('EVENTS', { client: { brokers }, producerOnlyMode: true })]),
    ],
    controllers: [OrdersController],
    providers: [Progress],
  })
  class AppModule {}
  return AppModule;
}
