import { LeaseLostError } from '../errors/errors.js';
import type { Scope } from '../execution/ledger-terms.js';
import type { RecordedStep, StepJournal, StepToStore } from '../execution/step-journal.js';
import { executionName, type InMemoryLedgerStore } from './in-memory-ledger-store.js';

export class InMemoryStepJournal implements StepJournal {
  constructor(
    private readonly store: InMemoryLedgerStore,
    private readonly reach: () => Promise<void>,
  ) {}

  async find(scope: Scope, key: Buffer): Promise<RecordedStep[]> {
    await this.reach();
    const steps = this.store.steps.get(executionName(scope, key));
    return [...(steps?.values() ?? [])].sort((left, right) => left.position - right.position);
  }

  async record({ scope, key, step, token }: StepToStore & { readonly token: string }): Promise<void> {
    await this.reach();
    const name = executionName(scope, key);
    if (this.store.claims.get(name)?.token !== token) throw new LeaseLostError(lostMessage);
    this.store.addStep(name, step);
  }
}

export const lostMessage = 'The claim of an execution was taken over before a step of it was stored';
