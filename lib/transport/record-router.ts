import type { MessageHandler } from '@nestjs/microservices';
import type { Route } from '../consumption/attempt.js';
import type { KafkaRecord } from '../messages/record.js';
import type { HandlerRegistry } from './handler-registry.js';
import { KafkaTerminalException } from './kafka-terminal.exception.js';
import { NestDeliveryHandler, type NestDeliveryHandlerPorts } from './nest-delivery-handler.js';
import { replyAddress } from './reply-publisher.js';

/** Finds the handlers of a record. One per connection: handlers hold on to its consumer and producer. */
export class RecordRouter {
  private readonly handlers = new Map<MessageHandler, NestDeliveryHandler>();

  constructor(
    private readonly registry: HandlerRegistry,
    private readonly ports: NestDeliveryHandlerPorts,
  ) {}

  /** At least one: a record that nobody handles is refused by a handler of its own. */
  readonly route = (record: KafkaRecord): readonly Route[] => {
    const isRequest = replyAddress(record) !== undefined;
    const registered = this.registry.of(record.topic);
    if (registered.length === 0) return [this.unhandled(record.topic, isRequest)];
    return registered.map(({ callback, pattern, isEvent }): Route => {
      let handler = this.handlers.get(callback);
      if (!handler) {
        handler = new NestDeliveryHandler(String(pattern), callback, this.ports);
        this.handlers.set(callback, handler);
      }
      return { handler, kind: isRequest && !isEvent ? 'request' : 'event' };
    });
  };

  private unhandled(topic: string, isRequest: boolean): Route {
    const refuse = () => {
      const message = `There is no matching handler for the topic "${topic}"`;
      throw new KafkaTerminalException(message, 'no-handler');
    };
    return {
      handler: new NestDeliveryHandler(topic, refuse, this.ports),
      kind: isRequest ? 'request' : 'event',
    };
  }
}
