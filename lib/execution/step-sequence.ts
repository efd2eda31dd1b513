import { InvalidOptionError, NonDeterministicStepError, WrongCallOrderError } from '../errors/errors.js';
import type { RunJournal } from './run-journal.js';
import type { RecordedStep } from './step-journal.js';
import { decodeStepResult } from './step-result.js';

const MAX_NAME = 200;

/**
 * The steps of one run of a handler, in their order: the first that is asked for is at position 0, and so on. What an
 * earlier run recorded at a position is given back instead of running anything, if it has the name that is asked for.
 */
export class StepSequence {
  private next = 0;
  private current: string | undefined;
  private recorded: Promise<ReadonlyMap<number, RecordedStep>> | undefined;
  private mismatch: NonDeterministicStepError | undefined;

  constructor(private readonly journal: Pick<RunJournal, 'load'>) {}

  /**
   * Resolves with what the step at this place is recorded with, else with what `perform` resolves with.
   * @throws NonDeterministicStepError if another step is recorded here, and at every later call: the run is over.
   * @throws WrongCallOrderError while another step of the run is under way.
   */
  async run<T>(name: string, perform: (position: number) => Promise<T>): Promise<T> {
    checkName(name);
    if (this.mismatch) throw this.mismatch;
    if (this.current !== undefined) throw new WrongCallOrderError(togetherMessage(name, this.current));
    this.current = name;
    try {
      const position = this.next++;
      const recorded = (await this.load()).get(position);
      if (!recorded) return await perform(position);
      if (recorded.name !== name) {
        throw (this.mismatch = new NonDeterministicStepError(position, recorded.name, name));
      }
      return decodeStepResult(recorded.result) as T;
    } finally {
      this.current = undefined;
    }
  }

  /**
   * Called when the handler has returned: what it swallowed must not pass for success.
   * @throws NonDeterministicStepError, WrongCallOrderError if a step is still under way.
   */
  expectEnded(): void {
    if (this.mismatch) throw this.mismatch;
    if (this.current === undefined) return;
    throw new WrongCallOrderError(
      `Step "${this.current}" was still under way when its handler returned: a promise is floating. Await every step.`,
    );
  }

  private async load(): Promise<ReadonlyMap<number, RecordedStep>> {
    this.recorded ??= this.journal
      .load()
      .then((steps) => new Map(steps.map((step) => [step.position, step])));
    try {
      return await this.recorded;
    } catch (error) {
      this.recorded = undefined;
      throw error;
    }
  }
}

/** @throws InvalidOptionError */
function checkName(name: unknown): void {
  if (typeof name === 'string' && name.length >= 1 && name.length <= MAX_NAME && !name.includes('\0')) return;
  const what =
    typeof name === 'string' ? `has ${name.length} characters or a NUL in it` : `is ${typeof name}`;
  throw new InvalidOptionError('name', `of a step ${what}; it must be text of 1 to ${MAX_NAME} characters`);
}

function togetherMessage(name: string, current: string): string {
  return (
    `Step "${name}" was begun while step "${current}" of the same handler was under way. Steps run one after the other, so ` +
    'that each run has them in one order: await the first, or do both in one step (Promise.all inside it).'
  );
}
