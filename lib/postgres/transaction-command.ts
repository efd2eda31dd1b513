import { UnsupportedError } from '../errors/errors.js';

/** What a statement does to the transaction that it runs in. */
export type TransactionCommand = 'begin' | 'commit' | 'rollback';

const SPACE = /(?:\s|--[^\n]*(?:\n|$)|\/\*[\s\S]*?\*\/)+/g;
const BEGIN = /^(?:begin(?: (?:work|transaction))?|start transaction)\b(.*)$/;
const END = /^(commit|end|rollback|abort)(?: (?:work|transaction))?(?: and no chain)?$/;
const SETTING = /^set (?:local )?transaction (.*)$/;
/** What the message's transaction is anyway. */
const GIVEN_MODES = /^(?:\s*,?\s*(?:isolation level read committed|read write|not deferrable))*\s*$/;

/**
 * Tells what a statement does: `undefined` for everyday ones, `given` for one that asks for what is so already.
 * @throws UnsupportedError for a transaction that can't be nested in the message's own.
 */
export function transactionCommand(text: string): TransactionCommand | 'given' | undefined {
  // Everyday statements are told apart by their first letters, unless they begin with a comment.
  if (!/^[\s;]*(?:--|\/\*|(?:begin|start|commit|end|rollback|abort|set)\b)/i.test(text)) return undefined;
  const normal = text
    .replace(SPACE, ' ')
    .replace(/^[ ;]+|[ ;]+$/g, '')
    .toLowerCase();
  const setting = SETTING.exec(normal);
  if (setting) {
    expectGiven(setting[1]!);
    return 'given';
  }
  const begin = BEGIN.exec(normal);
  if (begin) {
    if (normal.includes(';')) throw new UnsupportedError(togetherMessage);
    expectGiven(begin[1]!);
    return 'begin';
  }
  const [, end] = END.exec(normal) ?? [];
  if (end === undefined) return undefined;
  return end === 'commit' || end === 'end' ? 'commit' : 'rollback';
}

const togetherMessage =
  'A text that begins a nested transaction held further statements. Send BEGIN by itself: inside a handler it becomes a ' +
  'savepoint.';

function expectGiven(modes: string): void {
  if (GIVEN_MODES.test(modes)) return;
  throw new UnsupportedError(
    `A nested transaction asked for "${modes.trim().slice(0, 60)}". Inside a handler it is a part of the message's own ` +
      'transaction, which is READ COMMITTED and READ WRITE and cannot change that any more: the ledger has used it already. ' +
      'Lock the rows that matter (select … for update), or do this work outside of the handler.',
  );
}
