import type { Query, QueryResult } from 'pg';
import type { Session } from './session.js';

/** `pg`'s class of queries, of the very copy of the package that a client is from. */
type QueryClass = new (
  text: string,
  values?: unknown[],
) => Query & {
  name?: string;
  callback?: (error: Error | null, result: QueryResult) => void;
};

interface EverydayConfig {
  readonly text: string;
  readonly values?: unknown[];
  readonly name?: string;
}

/**
 * `pg`'s `query`, in all its forms; the session hears of what fails. A text, or a plain object of text, values and name, is
 * made a query of `pg` here: `pg` itself would first clone the object by its property descriptors, which costs as much as
 * all the rest of sending it.
 */
export function sendQuery(session: Session, args: readonly unknown[]): unknown {
  const { client } = session;
  const config = everydayConfig(args);
  const { Query } = client.constructor as { Query?: QueryClass };
  if (config === undefined || Query === undefined) {
    const result: unknown = Reflect.apply(client.query, client, args);
    return isThenable(result) ? result.then(undefined, (error: unknown) => failed(session, error)) : result;
  }
  const query = new Query(config.text, config.values);
  if (config.name !== undefined) query.name = config.name;
  return new Promise<QueryResult>((resolve) => {
    // A success is one promise: each costs a microsecond, and most handlers send a query.
    query.callback = (error, result) => resolve(error ? failed(session, error) : result);
    client.query(query);
  });
}

/** As `pg` does it, the error's stack leads to who awaits the query, rather than to the socket. */
async function failed(session: Session, error: unknown): Promise<never> {
  session.note(error);
  // V8 looks for that where a promise is waited for: the query's own waits for this one two turns later.
  await Promise.resolve();
  await Promise.resolve();
  if (error instanceof Error) Error.captureStackTrace(error);
  throw error;
}

function everydayConfig(args: readonly unknown[]): EverydayConfig | undefined {
  const [config, values] = args;
  if (args.length > 2 || (values !== undefined && !Array.isArray(values))) return undefined;
  if (typeof config === 'string') return { text: config, values };
  return values === undefined && isEveryday(config) ? config : undefined;
}

function isEveryday(config: unknown): config is EverydayConfig {
  if (typeof config !== 'object' || config === null) return false;
  if (Object.getPrototypeOf(config) !== Object.prototype) return false;
  for (const name in config) if (name !== 'text' && name !== 'values' && name !== 'name') return false;
  return typeof (config as EverydayConfig).text === 'string';
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as { then?: unknown } | null | undefined)?.then === 'function';
}
