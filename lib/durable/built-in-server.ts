import { Transport } from '@nestjs/microservices';
import { NotDurableError } from '../errors/errors.js';
import { ServerKafka } from '../transport/server-kafka.js';

/** A server of Nest's built-in Kafka transport. */
interface BuiltInServer {
  listen(callback: (error: unknown) => void): void;
}

export function isBuiltInServer(server: unknown): server is BuiltInServer {
  const { transportId } = server as { transportId?: unknown };
  return transportId === Transport.KAFKA && !(server instanceof ServerKafka);
}

/** Has it fail to start: in a hybrid application it starts before the application does, and would handle records. */
export function refuseToListen(server: BuiltInServer): void {
  server.listen = (callback) => callback(builtInTransport());
}

export function builtInTransport(): NotDurableError {
  return new NotDurableError(
    "DurableModule is imported, but this application listens through Nest's built-in Kafka transport. Import " +
      "'nestjs-durable-kafka/register' before anything else in main.ts, or use kafkaServer().",
  );
}
