import { bareStatements } from './bare-statements.js';

const DEALLOCATE_ALL = /^deallocate(?:\s+prepare)?\s+all\b/i;

/** Whether a text, which may hold several statements, makes the connection forget all statements that were prepared on it. */
export function deallocatesAll(text: string): boolean {
  if (!/\bdeallocate\b/i.test(text)) return false;
  return bareStatements(text).some((statement) => DEALLOCATE_ALL.test(statement));
}
