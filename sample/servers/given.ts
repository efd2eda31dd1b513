import { kafkaAnswers, postgresAnswers } from './answers.js';
import type { RunningServer, ServerControl, Way } from './server.js';
import { within } from './wait-for.js';

const timeoutMs = 5_000;

/** Kafka at the addresses in `KAFKA_BROKERS` (host:port, comma-separated). */
export function givenKafka(): Way<string[]> {
  const value = process.env['KAFKA_BROKERS'];
  const brokers = (value ?? '').split(',').flatMap((part) => part.trim() || []);
  return {
    origin: 'given',
    missing: async () => {
      if (!value) return 'KAFKA_BROKERS is not set (host:port, comma-separated)';
      return verify('KAFKA_BROKERS', brokers.join(','), kafkaAnswers(brokers));
    },
    start: () => Promise.resolve(given('Kafka', 'KAFKA_BROKERS', brokers)),
  };
}

/** Postgres at the URL in `DATABASE_URL`. */
export function givenPostgres(): Way<string> {
  const value = process.env['DATABASE_URL'];
  return {
    origin: 'given',
    missing: async () => {
      if (!value) return 'DATABASE_URL is not set (postgres://user:password@host:port/database)';
      return verify('DATABASE_URL', hostAndPort(value), postgresAnswers(value));
    },
    start: () => Promise.resolve(given('Postgres', 'DATABASE_URL', value ?? '')),
  };
}

/** Rejects, since what somebody has named is not replaced by something else without a word. */
async function verify(variable: string, where: string, answer: Promise<unknown>): Promise<undefined> {
  try {
    await within(timeoutMs, where, answer);
    return undefined;
  } catch (error) {
    const { message, code } = error as Error & { code?: string };
    throw new Error(
      `${variable} names ${where}, which does not answer: ${message || code}. ` +
        `Start it, correct ${variable}, or unset it to have a server started here.`,
      { cause: error },
    );
  }
}

/** Never more of the URL than this: it carries a password. */
function hostAndPort(url: string): string {
  try {
    const { hostname, port, protocol } = new URL(url);
    if (/^postgres(ql)?:$/.test(protocol)) return `${hostname || 'localhost'}:${port || '5432'}`;
  } catch {
    // said below
  }
  throw new Error('DATABASE_URL is not a URL of the form postgres://user:password@host:port/database.');
}

function given<Address>(name: string, variable: string, address: Address): RunningServer<Address> {
  const refuse = () =>
    Promise.reject(
      new Error(`${name} was given by ${variable}: only servers started here can be stopped and started.`),
    );
  const control: ServerControl = { stop: refuse, start: refuse };
  return { origin: 'given', address, control, end: () => Promise.resolve() };
}
