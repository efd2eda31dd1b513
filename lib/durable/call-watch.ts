import type { CallHandler, ExecutionContext, NestInterceptor } from '@nestjs/common';
import type { ModulesContainer } from '@nestjs/core';
import type { Observable } from 'rxjs';
import { durableMethods } from './handler-names.js';
import { durableRuns } from './handler-run.js';

/** Where `@UseInterceptors()` writes; Nest's index does not export the name. */
const INTERCEPTORS_METADATA = '__interceptors__';

/** Without state, so that several applications may share a controller. */
const callWatch: NestInterceptor = {
  intercept(_context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const run = durableRuns.getStore();
    return run?.kind === 'handler' && run.calls ? run.calls.call(next) : next.handle();
  },
};

/**
 * Has the runs of durable handlers hear of each call: bound to the methods, behind all other interceptors. To be called
 * before Nest puts the handlers together.
 * @param global whether handlers without a decorator are durable too.
 */
export function watchCalls(modules: ModulesContainer, global: boolean): void {
  for (const method of durableMethods(modules, global)) {
    const bound = (Reflect.getMetadata(INTERCEPTORS_METADATA, method) ?? []) as unknown[];
    if (bound.includes(callWatch)) continue;
    Reflect.defineMetadata(INTERCEPTORS_METADATA, [...bound, callWatch], method);
  }
}
