import { oneOf, OptionError, readArguments, shown, wholeNumber } from '../../sample/command-line.js';
import { rowDefinitions } from './targets.js';

/** What the benchmark was asked to do. */
export interface Options {
  /** Ids of rows, in the order of the table. Default all. */
  readonly only: readonly string[];
  /** Runs of each subject. Default 3; 1 with `quick`. */
  readonly repeats: number;
  /** Fewer records and less time: figures that only show that it works. Default false. */
  readonly quick: boolean;
  /** About how long the measured part of a run is. Default 5; 1 with `quick`. */
  readonly seconds: number;
  /** `small` fills the ledger with one million rows, `full` with ten. Default `small`. */
  readonly growth: 'small' | 'full';
  /** Folder for pictures and the table in Markdown. Default: none are written. */
  readonly out: string | undefined;
  /** Standard output holds one JSON object and nothing else. Default false. */
  readonly json: boolean;
  readonly help: boolean;
}

const ids = rowDefinitions.map(({ id }) => id);

export const help = `Measures this library beside others on the same Kafka, Postgres and machine.

  npm run bench -- [options]

  --only id,id    some rows; "request" takes every row whose id begins with it and a dot
  --repeats N     runs of each subject, 1 to 50; the table shows medians (default 3, with --quick 1)
  --quick         short runs: they show that it works, the figures mean little
  --seconds N     about how long the measured part of a run is, 1 to 120 (default 5, with --quick 1)
  --growth full   fill the ledger with ten million rows instead of one for the row "growth"; takes minutes
  --out folder    write the table in Markdown and two pictures there
  --json          standard output is one JSON line; everything else goes to standard error
  --help          this text

Rows: ${ids.join(', ')}.

KAFKA_BROKERS and DATABASE_URL name servers to use; without them they are started in Docker or as local processes.
Exit code 0: everything was measured, and effects were exact where exactly once is promised. 1: not so. 2: wrong options.
`;

/** @throws OptionError for anything that is not an option, or out of its range. */
export function parseOptions(args: readonly string[]): Options {
  const values = readArguments(args, {
    only: { type: 'string' },
    repeats: { type: 'string' },
    seconds: { type: 'string' },
    quick: { type: 'boolean', default: false },
    growth: { type: 'string', default: 'small' },
    out: { type: 'string' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  });
  const { quick } = values;
  return {
    only: values.only === undefined ? ids : rows(values.only),
    repeats: values.repeats === undefined ? (quick ? 1 : 3) : wholeNumber('--repeats', values.repeats, 1, 50),
    quick,
    seconds:
      values.seconds === undefined ? (quick ? 1 : 5) : wholeNumber('--seconds', values.seconds, 1, 120),
    growth: oneOf('--growth', values.growth, ['small', 'full']),
    out: values.out,
    json: values.json,
    help: values.help,
  };
}

function rows(text: string): string[] {
  const wanted = text.split(',').map((part) => part.trim());
  for (const name of wanted) {
    if (!ids.some((id) => matches(id, name)))
      throw new OptionError(`--only: there is no row "${shown(name)}". Rows: ${ids.join(', ')}.`);
  }
  return ids.filter((id) => wanted.some((name) => matches(id, name)));
}

/** An exact id is that row alone, although others may begin with it. */
function matches(id: string, name: string): boolean {
  return id === name || (!ids.includes(name) && name !== '' && id.startsWith(`${name}.`));
}
