import type { Attempt } from '../consumption/attempt.js';
import { delayWithin, retryDelay } from '../consumption/retry-policy.js';
import { StepTimeoutError, WrongCallOrderError } from '../errors/errors.js';
import type { OpenedRun } from '../execution/group-executions.js';
import type { RunJournal, StepOutcome } from '../execution/run-journal.js';
import { decodeStepResult, encodeStepResult } from '../execution/step-result.js';
import { StepSequence } from '../execution/step-sequence.js';
import { sleep, type Clock } from '../runtime/clock.js';
import { KafkaTerminalException } from '../transport/kafka-terminal.exception.js';
import {
  durableRuns,
  expectNothingNested,
  type HandlerRun,
  type RunSteps,
  type StepCall,
} from './handler-run.js';
import { resolveStepOptions, type ResolvedStepOptions } from './step.options.js';

/** Runs the steps of one run of a handler. */
export class StepRunner implements RunSteps {
  /** Made with the first step: most handlers have none. */
  private begun: { readonly journal: RunJournal; readonly sequence: StepSequence } | undefined;

  /** @param attempt whose signal is asked for when it is needed. */
  constructor(
    private readonly opened: Pick<OpenedRun, 'journal'>,
    private readonly clock: Clock,
    private readonly attempt: Pick<Attempt, 'signal'>,
  ) {}

  async run(run: HandlerRun, call: StepCall): Promise<unknown> {
    const options = resolveStepOptions(call.options);
    expectPlace(run, call.name);
    const { journal, sequence } = (this.begun ??= begin(this.opened.journal()));
    return sequence.run(call.name, (position) =>
      this.perform(journal, { ...call, ...options, run, position }),
    );
  }

  /** @throws WrongCallOrderError, NonDeterministicStepError */
  expectEnded(): void {
    this.begun?.sequence.expectEnded();
  }

  private async perform(journal: RunJournal, step: Step): Promise<unknown> {
    const { kind, name, retry, timeout } = step;
    const undoable = retry.attempts > 1 || timeout !== undefined;
    const { signal } = this.attempt;
    let firstFailure: number | undefined;
    for (let failures = 0; ;) {
      signal.throwIfAborted();
      let failed = false;
      let value: unknown;
      const work = async (client: unknown): Promise<StepOutcome> => {
        const { result, outbox } = await this.call(step, client, signal).catch((error: unknown) => {
          failed = true;
          throw error;
        });
        const encoded = encodeStepResult(name, result);
        // As it will be replayed: what is lost in the journal is missed at the first run already.
        value = decodeStepResult(encoded);
        return { step: { position: step.position, name, result: encoded }, outbox };
      };
      try {
        await (kind === 'step' ? journal.step(undoable, work) : journal.transact(work));
        return value;
      } catch (error) {
        // A step that has run and could not be recorded must not run again here.
        if (!failed || error instanceof KafkaTerminalException || ++failures >= retry.attempts) throw error;
        firstFailure ??= this.clock.monotonic();
        const left = (retry.deadline ?? Infinity) - (this.clock.monotonic() - firstFailure);
        if (left <= 0) throw error;
        await sleep(this.clock, delayWithin(left, retryDelay(retry, failures, this.clock)), signal);
      }
    }
  }

  /** One try. */
  private async call({ kind, run, name, fn, timeout }: Step, client: unknown, signal: AbortSignal) {
    const outbox: HandlerRun['outbox'] = [];
    const inner: HandlerRun = { ...run, client, outbox, open: true, within: kind, nested: undefined };
    try {
      const result = await this.bounded(name, timeout, signal, (bound) =>
        durableRuns.run(inner, async () => fn(client, bound)),
      );
      expectNothingNested(inner);
      return { result, outbox };
    } finally {
      inner.open = false;
    }
  }

  private async bounded<T>(
    name: string,
    timeout: number | undefined,
    signal: AbortSignal,
    work: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    if (timeout === undefined) return work(signal);
    const bound = new AbortController();
    let timer: unknown;
    const late = new Promise<never>((_resolve, reject) => {
      timer = this.clock.setTimeout(() => {
        const error = new StepTimeoutError(name, timeout);
        bound.abort(error);
        reject(error);
      }, timeout);
    });
    try {
      return await Promise.race([work(AbortSignal.any([signal, bound.signal])), late]);
    } finally {
      this.clock.clearTimeout(timer);
    }
  }
}

function begin(journal: RunJournal) {
  return { journal, sequence: new StepSequence(journal) };
}

interface Step extends StepCall, ResolvedStepOptions {
  readonly run: HandlerRun;
  readonly position: number;
}

/** @throws WrongCallOrderError where no step can be. */
function expectPlace({ within, nested }: HandlerRun, name: string): void {
  if (within) {
    throw new WrongCallOrderError(
      `Step "${name}" was begun inside another ${within}: steps cannot be nested, since the outer one is replayed without ` +
        'calling what is in it. Call it before or after.',
    );
  }
  if (nested?.isOpen) {
    throw new WrongCallOrderError(
      `Step "${name}" was begun while a transaction of DurablePool is open: its rollback would undo the step, and not the ` +
        'record of it. Use durable.transaction(name, fn), or end the transaction first.',
    );
  }
}
