import { Module } from '@nestjs/common';
import { ClientsModule } from '@nestjs/microservices';
import { kafkaClient } from 'nestjs-durable-kafka';
import { Calculator } from './calculator.js';
import { MathController } from './math.controller.js';
import { group } from './settings.js';

/** @param brokers addresses, known only once the servers run. */
export function appModule(brokers: string[]) {
  @Module({
    imports: [
      ClientsModule.register([kafkaClient('MATH', { client: { brokers }, consumer: { groupId: group } })]),
    ],
    controllers: [MathController],
    providers: [Calculator],
  })
  class AppModule {}
  return AppModule;
}
