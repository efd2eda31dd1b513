import { applyDecorators, SetMetadata, UseInterceptors } from '@nestjs/common';
import { DurableInterceptor } from './durable.interceptor.js';
import { oneOf } from '../transport/option-checks.js';
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
  if (options.mode !== undefined) oneOf('@Durable.mode', options.mode, EXECUTION_MODES);
  return applyDecorators(metadata({ durable: true, ...options }), UseInterceptors(DurableInterceptor));
}

/** Takes a handler, or all of a controller, out of durable execution: it runs at least once, without a transaction. */
export function NotDurable(): MethodDecorator & ClassDecorator {
  return metadata({ durable: false });
}

function metadata(value: DurableMetadata) {
  return SetMetadata(DURABLE_METADATA, value);
}
