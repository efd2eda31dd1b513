import { InvalidOptionError } from '../errors/errors.js';

/** Checks of single options; each throws `InvalidOptionError` with the option's full name and what is allowed. */
export type Check = (option: string, value: unknown) => unknown;

export function wholeNumber(
  option: string,
  value: unknown,
  least: number,
  most = Number.MAX_SAFE_INTEGER,
): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most) return value;
  const range = most === Number.MAX_SAFE_INTEGER ? `at least ${least}` : `from ${least} to ${most}`;
  throw new InvalidOptionError(option, `is ${show(value)}; it must be a whole number ${range}`);
}

export function numberAtLeast(option: string, value: unknown, least: number): number {
  if (typeof value === 'number' && value >= least) return value;
  throw new InvalidOptionError(option, `is ${show(value)}; it must be a number, at least ${least}`);
}

export function oneOf<T extends string>(option: string, value: unknown, allowed: readonly T[]): T {
  if (allowed.includes(value as T)) return value as T;
  throw new InvalidOptionError(
    option,
    `is ${show(value)}; it must be ${allowed.map((name) => `'${name}'`).join(' or ')}`,
  );
}

export function flag(option: string, value: unknown): boolean {
  if (typeof value === 'boolean') return value;
  throw new InvalidOptionError(option, `is ${show(value)}; it must be true or false`);
}

export function object(option: string, value: unknown): void {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) refuse(option, value, 'an object');
}

export function text(option: string, value: unknown): void {
  if (typeof value !== 'string' || value === '') refuse(option, value, 'a text that is not empty');
}

export function callable(option: string, value: unknown): void {
  if (typeof value !== 'function') refuse(option, value, 'a function');
}

export function having(method: string): Check {
  return (option, value) => {
    const found = (value as Record<string, unknown> | null)?.[method];
    if (typeof found !== 'function') refuse(option, value, `an object with a method ${method}()`);
  };
}

export function refuse(option: string, value: unknown, allowed: string): never {
  // Not what a text says: it may be a password at the wrong place.
  const kind = typeof value === 'string' && value !== '' ? 'a text' : show(value);
  throw new InvalidOptionError(option, `is ${kind}; it must be ${allowed}`);
}

/** Refuses names that nobody reads: a misspelt option must not be silently without effect. */
export function onlyKnown(where: string, given: object, known: readonly string[]): void {
  for (const name of Object.keys(given)) {
    if (known.includes(name)) continue;
    const option = where ? `${where}.${name}` : name;
    const likely = known.find((candidate) => distance(candidate, name) <= 2);
    const hint = likely ? `Did you mean "${likely}"?` : `Known are: ${known.join(', ')}.`;
    throw new InvalidOptionError(option, `is not an option of this transport. ${hint}`);
  }
}

/** For messages. */
export function show(value: unknown): string {
  if (typeof value === 'string') return value.length > 40 ? 'a long text' : `'${value}'`;
  if (typeof value === 'function') return 'a function';
  if (value === null || typeof value !== 'object') return String(value);
  return Array.isArray(value) ? 'an array' : 'an object';
}

/** Levenshtein distance, for hints. */
function distance(left: string, right: string): number {
  let row = Array.from({ length: right.length + 1 }, (_, index) => index);
  for (let i = 1; i <= left.length; i++) {
    const next = [i];
    for (let j = 1; j <= right.length; j++) {
      const substitution = row[j - 1]! + (left[i - 1] === right[j - 1] ? 0 : 1);
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, substitution));
    }
    row = next;
  }
  return row[right.length]!;
}
