import type { MessageHandler } from '@nestjs/microservices';
import { isObservable, lastValueFrom } from 'rxjs';
import { describeError } from '../errors/describe-error.js';
import type { Log } from '../runtime/log.js';

/**
 * A handler whose `extras` hold this symbol is not subscribed to anything: the server calls it once while starting,
 * and does not start if it refuses. So a module can find out whether its interceptors reach the handlers of a server
 * before the first record does.
 */
export const STARTUP_PROBE = Symbol.for('nestjs-durable-kafka.startup-probe');

/** What a probe is called with, as its data. */
export interface StartupProbeCall {
  /** Who starts; the same one each time that it listens. */
  readonly server: object;
  /** Partitions that the server works on at once. */
  readonly concurrency: number;
  /** The user wrote `run.autoCommit: true`. */
  readonly insistsOnAutoCommit: boolean;
  /** The user wrote `run.autoCommit: false`: handlers commit offsets. */
  readonly manualCommit: boolean;
  /** Set by whoever finds a reason not to start; what is thrown would be changed by exception filters on its way. */
  refusal?: Error;
}

export function isStartupProbe({ extras }: MessageHandler): boolean {
  return extras !== undefined && (extras as Record<symbol, unknown>)[STARTUP_PROBE] === true;
}

/** Calls a probe. Rejects with its refusal, and with nothing else. */
export async function runStartupProbe(
  probe: MessageHandler,
  call: StartupProbeCall,
  log: Log,
): Promise<void> {
  try {
    const result: unknown = await probe(call);
    if (isObservable(result)) await lastValueFrom(result, { defaultValue: undefined });
  } catch (error) {
    // A guard in the probe's way says nothing about what the probe looks for: only a refusal counts.
    log.debug(`A start-up probe did not answer: ${describeError(error)}`);
  }
  if (call.refusal) throw call.refusal;
}
