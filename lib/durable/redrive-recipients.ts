import { Inject, Injectable } from '@nestjs/common';
import { ModulesContainer } from '@nestjs/core';
import type { Scope } from '../execution/ledger.js';
import { EVERY_HANDLER } from '../messages/redrive-headers.js';
import { DURABLE_OPTIONS, type DurableModuleOptions } from './durable.options.js';
import { durableNames, otherPatterns } from './handler-names.js';
import { OutboxOutlet } from './outbox-outlet.js';

/** Of records that died before it was known who would have handled them. */
const BEFORE_HANDLERS: ReadonlySet<string> = new Set(['undecodable', 'no-handler']);

/** Who in this application a dead record may be put back for. */
@Injectable()
export class RedriveRecipients {
  private known: { readonly durable: Set<string>; readonly others: Set<string> } | undefined;

  constructor(
    private readonly modules: ModulesContainer,
    @Inject(DURABLE_OPTIONS) private readonly options: DurableModuleOptions,
    private readonly outlet: OutboxOutlet,
  ) {}

  /** Whether a durable handler of that name consumes the topic in that group. */
  includes({ group, handler }: Scope, topic: string): boolean {
    return this.handlers.durable.has(handler) && this.outlet.consumes(group, topic);
  }

  /** What `redrive-handler` is to say of a dead letter; `undefined` if nobody here would handle its record. */
  of({ group, handler }: Scope, topic: string, reason: string): string | undefined {
    if (!this.outlet.consumes(group, topic)) return undefined;
    const { durable, others } = this.handlers;
    if (durable.has(handler)) return handler;
    if (BEFORE_HANDLERS.has(reason)) return EVERY_HANDLER;
    // Handlers that are not durable go by their pattern.
    return others.has(handler) ? handler : undefined;
  }

  private get handlers() {
    const isGlobal = this.options.global ?? true;
    return (this.known ??= {
      durable: durableNames(this.modules, isGlobal),
      others: otherPatterns(this.modules, isGlobal),
    });
  }
}
