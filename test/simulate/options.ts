import { availableParallelism } from 'node:os';
import { oneOf, readArguments, wholeNumber } from '../../sample/command-line.js';
import { BUGS, type Bug } from '../support/broken-build.js';

/** More have no plans of their own. */
const MOST_SEEDS = 0xffff_ffff;

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

/** @throws OptionError for anything that is not an option, or out of its range */
export function readOptions(args: readonly string[]): Options | 'help' {
  const values = readArguments(args, {
    seeds: { type: 'string', default: '10000' },
    from: { type: 'string', default: '1' },
    seed: { type: 'string' },
    workers: { type: 'string', default: String(availableParallelism()) },
    bug: { type: 'string' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  });
  if (values.help) return 'help';
  return {
    seeds: wholeNumber('--seeds', values.seeds, 1, MOST_SEEDS),
    from: wholeNumber('--from', values.from, 0, MOST_SEEDS),
    seed: values.seed === undefined ? undefined : wholeNumber('--seed', values.seed, 0, MOST_SEEDS),
    workers: wholeNumber('--workers', values.workers, 1, 256),
    bug: values.bug === undefined ? undefined : oneOf('--bug', values.bug, BUGS),
    json: values.json,
  };
}
