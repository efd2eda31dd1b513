import type { Scope } from '../execution/ledger-terms.js';
import type { RecordedStep, StepJournal, StepToStore } from '../execution/step-journal.js';
import type { LedgerPool } from './ledger-pool.js';
import type { ScopeIds } from './scope-ids.js';
import type { Statements } from './statements.js';
import { stepError, storeSteps } from './step-work.js';

export class PostgresStepJournal implements StepJournal {
  /** @param parts asked for at each call: there are none before the ledger is open. */
  constructor(
    private readonly statements: Statements,
    private readonly parts: () => { readonly pool: LedgerPool; readonly scopes: ScopeIds },
  ) {}

  async find(scope: Scope, key: Buffer): Promise<RecordedStep[]> {
    const { pool, scopes } = this.parts();
    const rows = await pool.run(this.statements.findSteps, [await scopes.of(scope), key]);
    return rows.map((row) => ({
      position: Number(row['position']),
      name: row['name'] as string,
      result: row['result'] as Buffer,
    }));
  }

  async record(step: StepToStore & { readonly token: string }): Promise<void> {
    const { pool, scopes } = this.parts();
    try {
      await pool.transaction(await storeSteps([step], this.statements, scopes));
    } catch (error) {
      throw stepError(error);
    }
  }
}
