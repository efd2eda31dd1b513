import type { ModulesContainer } from '@nestjs/core';
import { Transport } from '@nestjs/microservices';
import { NotDurableError } from '../errors/errors.js';
import { HANDLER_NAMES } from '../transport/handler-registry.js';
import { handlerOf, isDurable, isMarked, type DurableHandler } from './durable-metadata.accessor.js';
import { DurableInterceptor } from './durable.interceptor.js';
import {
  INTERCEPTORS_METADATA,
  PATTERN_EXTRAS_METADATA,
  PATTERN_METADATA,
  TRANSPORT_METADATA,
} from './nest-metadata.js';
import { notForKafka } from './not-for-kafka.js';

interface Claimant {
  readonly controller: Function;
  readonly method: Function;
}

/**
 * Two handlers under one name would take each other's messages for done.
 * @param global whether handlers without a decorator are durable too.
 * @throws NotDurableError naming the handlers.
 */
export function expectDistinctNames(modules: ModulesContainer, global: boolean): void {
  const claimants = new Map<string, Claimant>();
  for (const controller of controllersOf(modules)) {
    for (const { handler, method } of durableHandlers(controller, global)) {
      const other = claimants.get(handler.id);
      // A controller that two modules list is still one.
      if (other && (other.controller !== controller || other.method !== method)) throw sharedName(handler.id);
      claimants.set(handler.id, { controller, method });
    }
  }
}

/**
 * A decorator where no record of Kafka ever comes would be a promise that nobody keeps.
 * @throws NotDurableError naming the method.
 */
export function expectKafkaHandlers(modules: ModulesContainer): void {
  const providers = [...modules.values()].flatMap((module) => [...module.providers.values()]);
  const types = providers.map(({ metatype }) => metatype).filter((type) => typeof type === 'function');
  for (const type of types) refuseDurable(type, methodsOf(type));
  for (const controller of controllersOf(modules)) {
    refuseDurable(
      controller,
      methodsOf(controller).filter((method) => !isKafkaHandler(method)),
    );
  }
}

/** Durable handlers by their names. `shared`: those whose method other controllers have too, by inheritance. */
export function handlersByName(
  modules: ModulesContainer,
  global: boolean,
): { readonly sole: Map<string, DurableHandler>; readonly shared: Map<string, DurableHandler> } {
  const owners = new Map<Function, Set<Function>>();
  for (const controller of controllersOf(modules)) {
    for (const method of methodsOf(controller).filter(isKafkaHandler)) {
      owners.set(method, (owners.get(method) ?? new Set()).add(controller));
    }
  }
  const sole = new Map<string, DurableHandler>();
  const shared = new Map<string, DurableHandler>();
  for (const controller of controllersOf(modules)) {
    for (const { handler, method } of durableHandlers(controller, global)) {
      (owners.get(method)!.size > 1 ? shared : sole).set(handler.id, handler);
    }
  }
  return { sole, shared };
}

/** The names of an application's durable handlers. */
export function durableNames(modules: ModulesContainer, global: boolean): Set<string> {
  const names = new Set<string>();
  for (const controller of controllersOf(modules)) {
    for (const { handler } of durableHandlers(controller, global)) names.add(handler.id);
  }
  return names;
}

/** The methods of an application's durable handlers. */
export function durableMethods(modules: ModulesContainer, global: boolean): Set<Function> {
  return new Set(
    controllersOf(modules).flatMap((controller) =>
      durableHandlers(controller, global).map(({ method }) => method),
    ),
  );
}

/** Tells the transport which of its handlers a durable one is: Nest hands the extras of a pattern on with its handler. */
export function markHandlers(modules: ModulesContainer, global: boolean): void {
  const names = new Map<Function, Set<string>>();
  for (const controller of controllersOf(modules)) {
    for (const { handler, method } of durableHandlers(controller, global)) {
      names.set(method, (names.get(method) ?? new Set()).add(handler.id));
    }
  }
  for (const [method, ids] of names) {
    const extras = Reflect.getMetadata(PATTERN_EXTRAS_METADATA, method) as object | undefined;
    Reflect.defineMetadata(PATTERN_EXTRAS_METADATA, { ...extras, [HANDLER_NAMES]: [...ids] }, method);
  }
}

/** The patterns of its other handlers for Kafka: what dead letters call these by. */
export function otherPatterns(modules: ModulesContainer, global: boolean): Set<string> {
  const patterns = new Set<string>();
  for (const controller of controllersOf(modules)) {
    const durable = new Set(durableHandlers(controller, global).map(({ method }) => method));
    for (const method of methodsOf(controller)) {
      if (durable.has(method) || !isKafkaHandler(method)) continue;
      const listed = Reflect.getMetadata(PATTERN_METADATA, method) as unknown;
      for (const pattern of Array.isArray(listed) ? listed : [listed]) patterns.add(String(pattern));
    }
  }
  return patterns;
}

function refuseDurable(type: Function, methods: readonly Function[]): void {
  const method = methods.find(isDurable);
  if (method) throw notForKafka(`${type.name}.${method.name}`);
}

export function sharedName(name: string): NotDurableError {
  return new NotDurableError(
    `Two durable handlers are both named ${name}: each would take the other's messages for its own and drop them as ` +
      "duplicates. Name them apart with @Durable({ name: '…' }).",
  );
}

function controllersOf(modules: ModulesContainer): Function[] {
  return [...modules.values()].flatMap(({ controllers }) =>
    [...controllers.values()].map(({ metatype }) => metatype).filter((type) => typeof type === 'function'),
  );
}

function durableHandlers(
  controller: Function,
  global: boolean,
): { handler: DurableHandler; method: Function }[] {
  return methodsOf(controller)
    .filter(
      (method) =>
        isKafkaHandler(method) && (global || isMarked(controller, method) || isBound(controller, method)),
    )
    .map((method) => ({ handler: handlerOf(controller, method), method }))
    .filter(({ handler }) => handler.durable);
}

/** Whether `@UseInterceptors(DurableInterceptor)` stands on a handler or its controller. */
function isBound(controller: Function, method: Function): boolean {
  return [controller, method].some((target) => {
    const bound = Reflect.getMetadata(INTERCEPTORS_METADATA, target) as readonly unknown[] | undefined;
    return bound?.includes(DurableInterceptor);
  });
}

/** Inherited ones too, each name once: what a class overrides is not its own. */
function methodsOf(controller: Function): Function[] {
  const methods = new Map<string, Function>();
  let prototype = controller.prototype as object | null;
  for (
    ;
    prototype && prototype !== Object.prototype;
    prototype = Object.getPrototypeOf(prototype) as object | null
  ) {
    for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(prototype))) {
      if (typeof value === 'function' && name !== 'constructor' && !methods.has(name)) {
        methods.set(name, value as Function);
      }
    }
  }
  return [...methods.values()];
}

function isKafkaHandler(method: Function): boolean {
  if (!Reflect.hasMetadata(PATTERN_METADATA, method)) return false;
  const transport = Reflect.getMetadata(TRANSPORT_METADATA, method) as Transport | symbol | undefined;
  // A symbol may be the name of one of several Kafka servers.
  return transport === undefined || transport === Transport.KAFKA || typeof transport === 'symbol';
}
