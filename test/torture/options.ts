import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { oneOf, OptionError, readArguments, shown, wholeNumber } from '../../sample/command-line.js';
import { defaultFaults, faultNamed, faultNames } from './faults/catalogue.js';

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
  /** Three brokers instead of one. */
  readonly cluster: boolean;
  readonly mode: Mode;
  readonly ordering: Ordering;
  /** `groupCommit.concurrent`: handlers of different keys of a group at once. */
  readonly concurrent: boolean;
  /** Per cent of the messages whose handler fails, once or for good. */
  readonly failing: number;
  /** Events that fail for good are parked, and mended at the end. */
  readonly parking: boolean;
  /** Seconds without any progress after which a run counts as stuck. */
  readonly patience: number;
  /** Folder of the build under test. */
  readonly library: string | undefined;
  readonly json: boolean;
}

export type Command =
  { readonly kind: 'run'; readonly options: Options } | { readonly kind: 'help' | 'list' };

export const help = `Has several processes of a service on this transport work while things break, then checks what came of it.

  npm run torture -- [options]

  --seed N         decides load and faults, 0 to 4294967295 (default: drawn, and printed)
  --messages N     different messages, 100 to 10000000 (default 20000)
  --instances N    processes of the service, 1 to 16 (default 3)
  --duration S     seconds of load and faults, 5 to 86400 (default 120); healing and checking come on top
  --faults A,B     which faults happen, by name or by its beginning (kill-at, pg); "none", or "all" (default)
  --cluster        three Kafka nodes instead of one, and faults that kill one of them
  --mode M         transaction (default) or claim
  --ordering O     partition (default) or key
  --concurrent     with --ordering key: handlers of different keys at once within a group
  --failing P      per cent of messages whose handler fails, 0 to 50 (default 5)
  --parking        events that fail for good are parked; what they fail of is mended when all else is
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
  cluster: { type: 'boolean', default: false },
  mode: { type: 'string', default: 'transaction' },
  ordering: { type: 'string', default: 'partition' },
  concurrent: { type: 'boolean', default: false },
  failing: { type: 'string', default: '5' },
  parking: { type: 'boolean', default: false },
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
  const values = readArguments(args, options);
  if (values.help) return { kind: 'help' };
  if (values.list) return { kind: 'list' };
  const ordering = oneOf('--ordering', values.ordering, ['partition', 'key']);
  const { cluster, concurrent } = values;
  if (concurrent && ordering !== 'key') throw new OptionError('--concurrent needs --ordering key.');
  return {
    kind: 'run',
    options: {
      seed: values.seed === undefined ? drawSeed() : wholeNumber('--seed', values.seed, 0, 0xffff_ffff),
      messages: wholeNumber('--messages', values.messages, 100, 10_000_000),
      instances: wholeNumber('--instances', values.instances, 1, 16),
      duration: wholeNumber('--duration', values.duration, 5, 86_400),
      faults: faults(values.faults, cluster),
      cluster,
      mode: oneOf('--mode', values.mode, ['transaction', 'claim']),
      ordering,
      concurrent,
      failing: wholeNumber('--failing', values.failing, 0, 50),
      parking: values.parking,
      patience: wholeNumber('--patience', values.patience, 10, 600),
      library: library(values.library),
      json: values.json,
    },
  };
}

function library(folder: string | undefined): string | undefined {
  if (folder === undefined || existsSync(join(folder, 'index.js'))) return folder;
  throw new OptionError(`--library: there is no index.js in "${folder}". Give the folder of a build.`);
}

function faults(text: string, cluster: boolean): string[] {
  if (text === 'none') return [];
  if (text === 'all') return defaultFaults(cluster);
  const known = faultNames();
  const names = text.split(',').flatMap((part) => {
    const name = part.trim();
    // A beginning stands for all that begin so: kill-at for kill-at-in-handler and the others.
    const meant = known.filter((each) => each === name || each.startsWith(`${name}-`));
    if (meant.length === 0) {
      throw new OptionError(`--faults: there is no fault "${shown(name)}". See --list.`);
    }
    for (const each of meant) {
      if (faultNamed(each).needsCluster && !cluster)
        throw new OptionError(`--faults ${each} needs --cluster.`);
    }
    return meant;
  });
  return [...new Set(names)];
}
