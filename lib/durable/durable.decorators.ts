import { applyDecorators, SetMetadata, UseInterceptors } from '@nestjs/common';
import { InvalidOptionError } from '../errors/errors.js';
import { callable, oneOf, onlyKnown, text } from '../transport/option-checks.js';
import { DurableInterceptor } from './durable.interceptor.js';
import {
  DURABLE_METADATA,
  EXECUTION_MODES,
  type DurableMetadata,
  type DurableOptions,
} from './durable-metadata.accessor.js';

/**
 * Makes a handler durable and says how. Needed only for options, or under `forRoot({ global: false })`.
 * @throws InvalidOptionError
 */
export function Durable(options: DurableOptions = {}): MethodDecorator {
  onlyKnown('@Durable', options, ['name', 'key', 'mode']);
  if (options.name !== undefined) text('@Durable.name', options.name);
  if (options.key !== undefined) callable('@Durable.key', options.key);
  if (options.mode !== undefined) oneOf('@Durable.mode', options.mode, EXECUTION_MODES);
  return applyDecorators(metadata({ durable: true, ...options }), UseInterceptors(DurableInterceptor));
}

/**
 * Takes a handler, or all of a controller, out of durable execution: it runs at least once, without a transaction.
 * @throws InvalidOptionError where a handler has another such decorator.
 */
export function NotDurable(): MethodDecorator & ClassDecorator {
  return metadata({ durable: false });
}

function metadata(value: DurableMetadata): MethodDecorator & ClassDecorator {
  return applyDecorators(once, SetMetadata(DURABLE_METADATA, value));
}

/** Of two on one handler the upper one would win, and the other's key or name be lost without a word. */
const once: MethodDecorator = (target, method, descriptor?: PropertyDescriptor) => {
  if (!descriptor || !Reflect.hasMetadata(DURABLE_METADATA, descriptor.value as object)) return;
  throw new InvalidOptionError(
    `${target.constructor.name}.${String(method)}`,
    'has more than one of @Durable() and @NotDurable(): keep one',
  );
};
