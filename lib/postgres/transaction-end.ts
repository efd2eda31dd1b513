import { bareStatements } from './bare-statements.js';

/** Statements that end a transaction; `rollback to` a savepoint does not. */
const END = /^(commit|end|abort|prepare\s+transaction|rollback(?!\s+(?:(?:work|transaction)\s+)?to\b))\b/i;

/** Worth a closer look: most texts are ruled out by this alone. */
const SUSPECTS = /\b(?:commit|end|abort|prepare|rollback)\b/i;

/** The command in a text, which may hold several statements, that would end the transaction; in its own words. */
export function transactionEnd(text: string): string | undefined {
  if (!SUSPECTS.test(text)) return undefined;
  for (const statement of bareStatements(text)) {
    const command = END.exec(statement)?.[1];
    if (command !== undefined) return command;
  }
  return undefined;
}
