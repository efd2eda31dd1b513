import { LedgerUnreachableError } from '../errors/errors.js';
import type { Scope } from '../execution/ledger.js';
import type { LedgerPool } from './ledger-pool.js';
import type { Statements } from './statements.js';

/** The numbers that stand for scopes in the tables. Each is asked for once per process. */
export class ScopeIds {
  private readonly ids = new Map<string, Promise<number>>();

  constructor(
    private readonly pool: LedgerPool,
    private readonly statements: Statements,
  ) {}

  of(scope: Scope): Promise<number> {
    // NUL is in no name that Postgres stores, so no two scopes share a string.
    const name = `${scope.group}\0${scope.handler}`;
    let id = this.ids.get(name);
    if (id === undefined) {
      id = this.load(scope);
      this.ids.set(name, id);
      // A failure is not remembered; the caller below gets it.
      id.catch(() => this.ids.delete(name));
    }
    return id;
  }

  private load(scope: Scope): Promise<number> {
    const values = [scope.group, scope.handler];
    return this.pool.use(async (session) => {
      // Looked for first: a conflicting insert would use up a number each time.
      let rows = await session.run(this.statements.findScope, values);
      if (rows.length === 0) {
        await session.run(this.statements.addScope, values);
        rows = await session.run(this.statements.findScope, values);
      }
      if (rows.length === 0)
        throw new LedgerUnreachableError('The scope was deleted while it was being added');
      return Number(rows[0]!['id']);
    });
  }
}
