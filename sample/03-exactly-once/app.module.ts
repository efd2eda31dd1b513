import { Module } from '@nestjs/common';
import { ClientsModule } from '@nestjs/microservices';
import { DurableModule, kafkaClient } from 'nestjs-durable-kafka';
import { schema } from './settings.js';
import { StockController } from './stock.controller.js';

/** @param servers addresses, known only once they run. */
export function appModule({ brokers, databaseUrl }: { brokers: string[]; databaseUrl: string }) {
  @Module({
    imports: [
      DurableModule.forRoot({ connection: databaseUrl, schema }),
      ClientsModule.register([kafkaClient('EVENTS', { client: { brokers }, producerOnlyMode: true })]),
    ],
    controllers: [StockController],
  })
  class AppModule {}
  return AppModule;
}
