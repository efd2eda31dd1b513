import { applyDecorators, SetMetadata, UseInterceptors } from '@nestjs/common';
import { DurableInterceptor } from './durable.interceptor.js';
import { DURABLE_METADATA, type DurableMetadata, type DurableOptions } from './durable-metadata.accessor.js';

/** Makes a handler durable and says how. Needed only for options, or under `forRoot({ global: false })`. */
export function Durable(options: DurableOptions = {}): MethodDecorator {
  return applyDecorators(metadata({ durable: true, ...options }), UseInterceptors(DurableInterceptor));
}

/** Takes a handler, or all of a controller, out of durable execution: it runs at least once, without a transaction. */
export function NotDurable(): MethodDecorator & ClassDecorator {
  return metadata({ durable: false });
}

function metadata(value: DurableMetadata) {
  return SetMetadata(DURABLE_METADATA, value);
}
