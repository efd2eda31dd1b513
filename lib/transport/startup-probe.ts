import type { MessageHandler } from '@nestjs/microservices';
import { isObservable, lastValueFrom } from 'rxjs';
import { describeError } from '../errors/describe-error.js';
import type { Log } from '../runtime/log.js';
import { ineffectiveOptions } from './ineffective-options.js';
import type { ResolvedOptions } from './resolve-options.js';

/**
 * A handler whose `extras` hold this symbol is not subscribed to anything: the server calls it once while starting,
 * and does not start if it refuses. So a module can find out whether its interceptors reach the handlers of a server
 * before the first record does.
 */
export const STARTUP_PROBE = Symbol.for('nestjs-durable-kafka.startup-probe');

/** What a server is going to do, for whoever checks it before it starts. */
export interface StartupFacts {
  /** Partitions that the server works on at once. */
  readonly concurrency: number;
  /** The user wrote `run.autoCommit: true`. */
  readonly insistsOnAutoCommit: boolean;
  /** The user wrote `run.autoCommit: false`: handlers commit offsets. */
  readonly manualCommit: boolean;
}

/** What a probe is called with, as its data. */
export interface StartupProbeCall {
  /** Set by whoever is in the way of the handlers and was looked for. */
  reached?: boolean;
  /** Set by whoever finds a reason not to start; what is thrown would be changed by exception filters on its way. */
  refusal?: Error;
}

export function isStartupProbe({ extras }: MessageHandler): boolean {
  return extras !== undefined && (extras as Record<symbol, unknown>)[STARTUP_PROBE] === true;
}

/** What a server goes through before it connects to anything. */
export class Preflight {
  readonly probes: MessageHandler[] = [];

  /** Rejects with the first reason not to start. */
  async run(
    { given, engine, insistsOnAutoCommit }: ResolvedOptions,
    beforeStart: (facts: StartupFacts) => Promise<void>,
    log: Log,
  ): Promise<void> {
    for (const warning of ineffectiveOptions(given)) log.warn(warning);
    const { concurrency, commitOffsets } = engine;
    await beforeStart({ concurrency, insistsOnAutoCommit, manualCommit: !commitOffsets });
    for (const probe of this.probes) await runStartupProbe(probe, log);
  }
}

/** Calls a probe. Rejects with its refusal, and with nothing else. */
async function runStartupProbe(probe: MessageHandler, log: Log): Promise<void> {
  const call: StartupProbeCall = {};
  let problem = 'it was answered by somebody else';
  try {
    const result: unknown = await probe(call);
    if (isObservable(result)) await lastValueFrom(result, { defaultValue: undefined });
  } catch (error) {
    problem = describeError(error);
  }
  if (call.refusal) throw call.refusal;
  // A guard in the probe's way says nothing about what the probe looks for: only a refusal counts.
  if (!call.reached) {
    log.warn(
      `Whether handlers of this server are durable could not be checked: a guard or an interceptor did not let the ` +
        `start-up probe through (${problem})`,
    );
  }
}
