/** Program. The service that gets killed. Started by `main.ts`, which tells it where to work. */
import 'reflect-metadata';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { MicroserviceOptions } from '@nestjs/microservices';
import { DurableModule, kafkaServer } from 'nestjs-durable-kafka';
import type { Assignment } from './names.js';
import { transfersController } from './transfers.controller.js';

const assignment = JSON.parse(process.argv[2]!) as Assignment;
const { brokers, databaseUrl, schema, group } = assignment;

@Module({
  imports: [DurableModule.forRoot({ connection: databaseUrl, schema })],
  controllers: [transfersController(assignment)],
})
class AppModule {}

// It never outlives the program that started it.
process.once('disconnect', () => process.exit());

const app = await NestFactory.createMicroservice<MicroserviceOptions>(AppModule, {
  ...kafkaServer({ client: { brokers }, consumer: { groupId: group }, subscribe: { fromBeginning: true } }),
  logger: ['error'],
});
app.enableShutdownHooks();
await app.listen();
