/** A CommonJS program that requires each entry, and learns that nothing else is to be had. */
require('nestjs-durable-kafka/register');
const { DurableModule, kafkaServer } = require('nestjs-durable-kafka');
const { InMemoryKafka } = require('nestjs-durable-kafka/testing');

const refused = [
  'nestjs-durable-kafka/dist/index.js',
  'nestjs-durable-kafka/transport/server-kafka.js',
  'nestjs-durable-kafka/lib/index.ts',
  'nestjs-durable-kafka/dist/postgres/migrations/0001_ledger.sql',
].map((path) => {
  try {
    return require.resolve(path);
  } catch (error) {
    return error.code;
  }
});
const types = [DurableModule, kafkaServer, InMemoryKafka].map((entry) => typeof entry);
console.log(JSON.stringify({ types, refused }));
