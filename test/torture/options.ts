import { parseArgs } from 'node:util';
import { defaultFaults, faultNames } from './faults/catalogue.js';

export type Mode = 'transaction' | 'claim';
export type Ordering = 'partition' | 'key';

export interface Options {
  /** Decides load and faults. */
  readonly seed: number;
  /** Different messages. */
  readonly messages: number;
  /** Processes of the service. */
  readonly instances: number;
  /** Seconds in which messages are produced and faults happen. */
  readonly duration: number;
  readonly faults: readonly string[];
  readonly mode: Mode;
  readonly ordering: Ordering;
  /** Per cent of the messages whose handler fails, once or for good. */
  readonly failing: number;
  /** Seconds without any progress after which a run counts as stuck. */
  readonly patience: number;
  /** Folder of the build under test. */
  readonly library: string | undefined;
  readonly json: boolean;
}

export type Command =
  { readonly kind: 'run'; readonly options: Options } | { readonly kind: 'help' | 'list' };

/** An argument that cannot be used; the message is one line for the user. */
export class OptionError extends Error {}

export const help = `Has several processes of a service on this transport work while things break, then checks what came of it.

  npm run torture -- [options]

  --seed N         decides load and faults, 0 to 4294967295 (default: drawn, and printed)
  --messages N     different messages, 100 to 10000000 (default 20000)
  --instances N    processes of the service, 1 to 16 (default 3)
  --duration S     seconds of load and faults, 5 to 86400 (default 120); healing and checking come on top
  --faults A,B     which faults happen, by name or by its beginning (kill-at, pg); "none", or "all" (default)
  --mode M         transaction (default) or claim
  --ordering O     partition (default) or key
  --failing P      per cent of messages whose handler fails, 0 to 50 (default 5)
  --patience S     seconds without progress after which a run is stuck, 10 to 600 (default 60)
  --library DIR    the build under test (default: dist)
  --json           the last line of standard output is a JSON object; everything else goes to standard error
  --list           the faults, a line each
  --help           this text

KAFKA_BROKERS and DATABASE_URL name servers to use, as long as no fault has to stop them; otherwise they are started.
Exit code 0: no violation. 1: violations, or it could not be run. 2: wrong options.
`;

const options = {
  seed: { type: 'string' },
  messages: { type: 'string', default: '20000' },
  instances: { type: 'string', default: '3' },
  duration: { type: 'string', default: '120' },
  faults: { type: 'string', default: 'all' },
  mode: { type: 'string', default: 'transaction' },
  ordering: { type: 'string', default: 'partition' },
  failing: { type: 'string', default: '5' },
  patience: { type: 'string', default: '60' },
  library: { type: 'string' },
  json: { type: 'boolean', default: false },
  list: { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
} as const;

/**
 * @param drawSeed asked where no seed is given
 * @throws OptionError for anything that is not an option, or out of its range
 */
export function parseOptions(args: readonly string[], drawSeed: () => number): Command {
  const values = read(args);
  if (values.help) return { kind: 'help' };
  if (values.list) return { kind: 'list' };
  return {
    kind: 'run',
    options: {
      seed: values.seed === undefined ? drawSeed() : integer('--seed', values.seed, 0, 0xffff_ffff),
      messages: integer('--messages', values.messages, 100, 10_000_000),
      instances: integer('--instances', values.instances, 1, 16),
      duration: integer('--duration', values.duration, 5, 86_400),
      faults: faults(values.faults),
      mode: oneOf('--mode', values.mode, ['transaction', 'claim']),
      ordering: oneOf('--ordering', values.ordering, ['partition', 'key']),
      failing: integer('--failing', values.failing, 0, 50),
      patience: integer('--patience', values.patience, 10, 600),
      library: values.library,
      json: values.json,
    },
  };
}

function read(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options }).values;
  } catch (error) {
    const [sentence] = (error as Error).message.split(/\.\s|\n/);
    throw new OptionError(`${sentence?.replace(/\.$/, '')}. See --help.`);
  }
}

function integer(name: string, text: string, least: number, most: number): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= least && value <= most) return value;
  throw new OptionError(`${name} must be a whole number from ${least} to ${most}, not "${shown(text)}".`);
}

function oneOf<Word extends string>(name: string, text: string, words: readonly Word[]): Word {
  const word = words.find((each) => each === text);
  if (word === undefined) {
    throw new OptionError(`${name} must be ${words.join(' or ')}, not "${shown(text)}".`);
  }
  return word;
}

function faults(text: string): string[] {
  if (text === 'none') return [];
  if (text === 'all') return defaultFaults();
  const known = faultNames();
  const names = text.split(',').flatMap((part) => {
    const name = part.trim();
    // A beginning stands for all that begin so: kill-at for kill-at-in-handler and the others.
    const meant = known.filter((each) => each === name || each.startsWith(`${name}-`));
    if (meant.length === 0) {
      throw new OptionError(`--faults: there is no fault "${shown(name)}". See --list.`);
    }
    return meant;
  });
  return [...new Set(names)];
}

const shown = (text: string): string => text.slice(0, 40);
