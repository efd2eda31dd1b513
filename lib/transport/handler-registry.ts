import type { MessageHandler } from '@nestjs/microservices';
import { InvalidPatternError } from '../errors/errors.js';
import { isTopicName } from '../messages/topic-name.js';

/** In a handler's `extras`: the stable names of what it may be, from whoever keeps its work under them. */
export const HANDLER_NAMES = Symbol.for('nestjs-durable-kafka.handler-names');

const MAX_REMEMBERED = 10_000;

/** A handler as Nest registered it. */
export interface RegisteredHandler {
  readonly pattern: string | RegExp;
  readonly callback: MessageHandler;
  readonly isEvent: boolean;
}

/**
 * Which handlers a topic has. Unlike in Nest's own strategy each is kept by itself: several event handlers and a
 * message handler on one topic are all called, and succeed or fail each for itself.
 */
export class HandlerRegistry {
  private readonly handlers: RegisteredHandler[] = [];
  private readonly byTopic = new Map<string, readonly RegisteredHandler[]>();

  /** @throws InvalidPatternError for a pattern that is neither a topic's name nor a RegExp. */
  add(handler: RegisteredHandler): void {
    checkPattern(handler.pattern);
    const earlier = handler.isEvent ? undefined : this.messageHandlerOf(handler.pattern);
    if (earlier) {
      throw new InvalidPatternError(
        `Two @MessagePattern handlers for "${String(handler.pattern)}": a request can have one answer only. ` +
          'Remove one, or make it an @EventPattern.',
      );
    }
    this.handlers.push(handler);
    this.byTopic.clear();
  }

  /** Patterns of event handlers that nobody has a name for. */
  get unnamedEvents(): (string | RegExp)[] {
    return this.handlers.flatMap((handler) =>
      handler.isEvent && !namesOf(handler) ? [handler.pattern] : [],
    );
  }

  /** Of these topics, each once, those that have a handler that somebody has a name for. */
  namedAmong(topics: readonly string[]): string[] {
    return [...new Set(topics)].filter((topic) => this.of(topic).some((handler) => namesOf(handler)));
  }

  /** What to subscribe to, each once. */
  get patterns(): (string | RegExp)[] {
    const names = new Map(this.handlers.map(({ pattern }) => [String(pattern), pattern]));
    return [...names.values()];
  }

  /** Topics whose requests are answered. */
  get requestTopics(): string[] {
    const named = this.handlers.filter(({ isEvent, pattern }) => !isEvent && typeof pattern === 'string');
    return [...new Set(named.map(({ pattern }) => pattern as string))];
  }

  /** The handlers of a topic in the order of their registration. */
  of(topic: string): readonly RegisteredHandler[] {
    let found = this.byTopic.get(topic);
    if (!found) {
      // A deserializer may take patterns out of records: there is no end to those.
      if (this.byTopic.size >= MAX_REMEMBERED) this.byTopic.clear();
      found = this.handlers.filter(({ pattern }) => matches(pattern, topic));
      this.byTopic.set(topic, found);
    }
    return found;
  }

  private messageHandlerOf(pattern: string | RegExp): RegisteredHandler | undefined {
    return this.handlers.find((other) => !other.isEvent && String(other.pattern) === String(pattern));
  }
}

export function namesOf({ callback }: Pick<RegisteredHandler, 'callback'>): readonly string[] | undefined {
  return (callback.extras as Record<symbol, readonly string[] | undefined> | undefined)?.[HANDLER_NAMES];
}

function matches(pattern: string | RegExp, topic: string): boolean {
  if (typeof pattern === 'string') return pattern === topic;
  pattern.lastIndex = 0;
  return pattern.test(topic);
}

function checkPattern(pattern: unknown): void {
  if (pattern instanceof RegExp) return;
  if (typeof pattern !== 'string') {
    throw new InvalidPatternError(
      `A Kafka pattern is a topic's name or a RegExp, not ${pattern === null ? 'null' : `a value of type ${typeof pattern}`}. ` +
        "Write @EventPattern('order.placed').",
    );
  }
  if (!isTopicName(pattern)) {
    throw new InvalidPatternError(
      `"${String(pattern).slice(0, 60)}" cannot be a Kafka topic: names have 1 to 249 letters, digits, dots, dashes and underscores`,
    );
  }
}
