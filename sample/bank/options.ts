import { OptionError, readArguments, wholeNumber } from '../command-line.js';

/** What the demo was asked to do. */
export interface Options {
  /** Different transfers that are produced. Default 5000. */
  readonly transfers: number;
  /** How often a service process is ended with SIGKILL in mid-work, per transport. Default 5. */
  readonly kills: number;
  /** Decides transfers, repetitions, and where the faults hit. Default 1. */
  readonly seed: number;
  /** Standard output holds one JSON object and nothing else. Default false. */
  readonly json: boolean;
  /** Print the help and do nothing. Default false. */
  readonly help: boolean;
}

export const help = `Runs one bank twice, on Nest's built-in Kafka transport and on nestjs-durable-kafka, under the same faults.

  npm start -- [options]

  --transfers N   different transfers to produce, 60 to 1000000 (default 5000)
  --kills N       SIGKILLs in mid-work per transport, 0 to 100 (default 5)
  --seed N        decides transfers and faults, 0 to 4294967295 (default 1)
  --json          standard output is one JSON object; everything else goes to standard error
  --help          this text

KAFKA_BROKERS and DATABASE_URL name servers to use; without them they are started in Docker or as local processes.
Exit code 0: every transfer was booked exactly once by nestjs-durable-kafka. 1: not so. 2: wrong options.
`;

/** @throws OptionError for anything that is not an option, or out of its range. */
export function parseOptions(args: readonly string[]): Options {
  const values = readArguments(args, {
    transfers: { type: 'string', default: '5000' },
    kills: { type: 'string', default: '5' },
    seed: { type: 'string', default: '1' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  });
  const transfers = wholeNumber('--transfers', values.transfers, 60, 1_000_000);
  const kills = wholeNumber('--kills', values.kills, 0, 100);
  const enough = 40 + 20 * kills; // so that each kill can hit in mid-work
  if (transfers < enough) {
    throw new OptionError(`--kills ${kills} needs at least --transfers ${enough}, not ${transfers}.`);
  }
  return {
    transfers,
    kills,
    seed: wholeNumber('--seed', values.seed, 0, 0xffff_ffff),
    json: values.json,
    help: values.help,
  };
}
