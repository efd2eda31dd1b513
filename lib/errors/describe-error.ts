import { className, textOf } from './foreign-error.js';

const MAX_LENGTH = 500;

/** One line about anything that was thrown, fit for a log: class and message, bounded, no stack. Never throws. */
export function describeError(error: unknown): string {
  const line = textFor(error).replaceAll(/\s*\n\s*/g, ' ');
  return line.length > MAX_LENGTH ? `${line.slice(0, MAX_LENGTH)}…` : line;
}

function textFor(error: unknown): string {
  if (typeof error === 'string') return error;
  if (typeof error !== 'object' || error === null)
    return `a thrown ${error === null ? 'null' : typeof error}`;
  const message = textOf(error, 'message');
  if (textOf(error, 'stack') !== undefined) {
    return `${textOf(error, 'name') ?? className(error)}: ${message ?? 'without a message'}`;
  }
  return message ?? 'a thrown object';
}
