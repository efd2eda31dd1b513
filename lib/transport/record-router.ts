import type { MessageHandler } from '@nestjs/microservices';
import type { Route } from '../consumption/attempt.js';
import type { KafkaRecord } from '../messages/record.js';
import { isPromise } from '../runtime/is-promise.js';
import { namesOf, type HandlerRegistry } from './handler-registry.js';
import { KafkaTerminalException } from './kafka-terminal.exception.js';
import { NestDeliveryHandler, undecodable, type NestDeliveryHandlerPorts } from './nest-delivery-handler.js';
import { replyAddress } from './reply-publisher.js';

/** The pattern of a record's packet, or a promise of it; `undefined` and `null` mean the topic. May throw or reject. */
export type PatternReader = (record: KafkaRecord) => unknown;

/** Finds the handlers of a record. One per connection: handlers hold on to its consumer and producer. */
export class RecordRouter {
  private readonly handlers = new Map<MessageHandler, NestDeliveryHandler>();

  /** @param patternOf asked where the record itself says what it is for; without it the topic does. */
  constructor(
    private readonly registry: HandlerRegistry,
    private readonly ports: NestDeliveryHandlerPorts,
    private readonly patternOf?: PatternReader,
  ) {}

  /** At least one: a record that nobody handles is refused by a handler of its own. Never throws or rejects. */
  readonly route = (record: KafkaRecord): readonly Route[] | Promise<readonly Route[]> => {
    if (!this.patternOf) return this.routesOf(record, record.topic);
    try {
      const pattern = this.patternOf(record);
      if (!isPromise(pattern)) return this.routesOf(record, pattern);
      return Promise.resolve(pattern).then(
        (found) => this.routesOf(record, found),
        (cause: unknown) => [this.refusal(record, undecodable(cause))],
      );
    } catch (cause) {
      return [this.refusal(record, undecodable(cause))];
    }
  };

  private routesOf(record: KafkaRecord, pattern: unknown): readonly Route[] {
    const wanted = pattern ?? record.topic;
    const registered = typeof wanted === 'string' ? this.registry.of(wanted) : [];
    if (registered.length === 0) return [this.refusal(record, noHandler(record, wanted))];
    const isRequest = replyAddress(record) !== undefined;
    return registered.map((each): Route => {
      const { callback, pattern, isEvent } = each;
      let handler = this.handlers.get(callback);
      if (!handler) {
        handler = new NestDeliveryHandler(String(pattern), callback, this.ports);
        this.handlers.set(callback, handler);
      }
      return { handler, kind: isRequest && !isEvent ? 'request' : 'event', names: namesOf(each) };
    });
  }

  private refusal(record: KafkaRecord, error: KafkaTerminalException): Route {
    const refuse = () => {
      throw error;
    };
    return {
      handler: new NestDeliveryHandler(record.topic, refuse, this.ports),
      kind: replyAddress(record) ? 'request' : 'event',
    };
  }
}

// A pattern that the deserializer took out of the record may be anything: it is not repeated.
function noHandler({ topic }: KafkaRecord, pattern: unknown): KafkaTerminalException {
  const which = pattern === topic ? '' : ' under the pattern that the deserializer returned';
  return new KafkaTerminalException(
    `There is no matching handler for the topic "${topic}"${which}`,
    'no-handler',
  );
}
