import { bareStatements } from './bare-statements.js';

/** Statements whose effect is the whole transaction's, or outlives it: by their first words. */
const COMMANDS =
  /^(begin|start\s+transaction|savepoint|release|rollback(?:\s+(?:work|transaction))?\s+to|set|reset|discard|lock)\b/i;

/** Functions with such an effect, wherever they are called. A session's locks and settings outlive the transaction. */
const FUNCTIONS = /\b(pg_(?:try_)?advisory_(?:xact_)?lock(?:_shared)?|set_config)\s*\(/i;

/** Worth a closer look: most texts are ruled out by this alone. */
const SUSPECTS = /\b(?:begin|start|savepoint|release|rollback|set|reset|discard|lock)\b|advisory|set_config/i;

/**
 * What in a text would take effect on other handlers of the same transaction, in its own words; `undefined` if nothing
 * does. A refusal for people who do not know, not a fence against those who do.
 */
export function sharedEffect(text: string): string | undefined {
  if (!SUSPECTS.test(text)) return undefined;
  const statements = bareStatements(text);
  for (const statement of statements) {
    const command = COMMANDS.exec(statement)?.[1];
    if (command !== undefined) return command.toUpperCase().replace(/\s+/g, ' ');
  }
  return FUNCTIONS.exec(statements.join(';'))?.[1]?.concat('()');
}
