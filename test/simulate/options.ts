import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { BUGS, isBug, type Bug } from '../support/broken-build.js';

export interface Options {
  readonly seeds: number;
  readonly from: number;
  /** One seed, told in full. */
  readonly seed: number | undefined;
  readonly workers: number;
  /** Put into the library first. */
  readonly bug: Bug | undefined;
  /** End with one line of JSON. */
  readonly json: boolean;
}

export const USAGE = `npm run simulate -- [options]
  --seeds <n>    runs, each from a seed of its own (10000)
  --from <n>     the first seed (1)
  --seed <n>     this one alone, told in full
  --workers <n>  threads (one per core)
  --bug <name>   puts a bug into a copy of the library first: ${BUGS.join(', ')}
  --json         ends with one line of JSON
`;

/** @throws Error that says which option can't be what it is. */
export function readOptions(args: readonly string[]): Options | 'help' {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seeds: { type: 'string', default: '10000' },
      from: { type: 'string', default: '1' },
      seed: { type: 'string' },
      workers: { type: 'string', default: String(availableParallelism()) },
      bug: { type: 'string' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return 'help';
  const { bug } = values;
  if (bug !== undefined && !isBug(bug)) {
    throw new Error(`--bug is "${bug}"; it must be one of ${BUGS.join(', ')}`);
  }
  return {
    seeds: wholeNumber('seeds', values.seeds, 1),
    from: wholeNumber('from', values.from, 0),
    seed: values.seed === undefined ? undefined : wholeNumber('seed', values.seed, 0),
    workers: wholeNumber('workers', values.workers, 1),
    bug,
    json: values.json,
  };
}

function wholeNumber(name: string, text: string, least: number): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= least && text.trim() !== '') return value;
  throw new Error(`--${name} is "${text}"; it must be a whole number from ${least}`);
}
