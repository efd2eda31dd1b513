import { kafkaAnswers, postgresAnswers } from './answers.js';
import type { RunningServer, ServerControl, Way } from './server.js';
import { within } from './wait-for.js';

const timeoutMs = 5_000;

/** Kafka at the addresses in `KAFKA_BROKERS` (host:port, comma-separated). */
export function givenKafka(): Way<string[]> {
  const value = process.env['KAFKA_BROKERS'];
  return {
    origin: 'given',
    missing: () =>
      Promise.resolve(value ? undefined : 'KAFKA_BROKERS is not set (host:port, comma-separated)'),
    start: async () => {
      const brokers = (value ?? '').split(',').flatMap((part) => part.trim() || []);
      await verify('KAFKA_BROKERS', brokers.join(','), kafkaAnswers(brokers));
      return given('Kafka', 'KAFKA_BROKERS', brokers);
    },
  };
}

/** Postgres at the URL in `DATABASE_URL`. */
export function givenPostgres(): Way<string> {
  const value = process.env['DATABASE_URL'];
  return {
    origin: 'given',
    missing: () =>
      Promise.resolve(
        value ? undefined : 'DATABASE_URL is not set (postgres://user:password@host:port/database)',
      ),
    start: async () => {
      const url = value ?? '';
      await verify('DATABASE_URL', hostAndPort(url), postgresAnswers(url));
      return given('Postgres', 'DATABASE_URL', url);
    },
  };
}

async function verify(variable: string, where: string, answer: Promise<unknown>): Promise<void> {
  try {
    await within(timeoutMs, where, answer);
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
