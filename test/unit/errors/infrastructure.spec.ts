import {
  BrokerUnreachableError,
  CommitUnknownError,
  FencedError,
  LedgerUnreachableError,
  ProduceError,
  ReplyTimeoutError,
  TransactionAbortedError,
} from '../../../lib/errors/errors.js';
import { isInfrastructureError } from '../../../lib/errors/infrastructure.js';

const coded = (code: string, message = 'x') => Object.assign(new Error(message), { code });

describe('isInfrastructureError', () => {
  it.each<[string, unknown]>([
    ['ledger unreachable', new LedgerUnreachableError('x')],
    ['commit unknown', new CommitUnknownError()],
    ['broker unreachable', new BrokerUnreachableError('x')],
    ['another copy of this package', coded('KT_LEDGER_UNREACHABLE')],
    ['connection exception', coded('08006')],
    ['connection exception without subclass', coded('08000')],
    ['too many connections', coded('53300')],
    ['disk full', coded('53100')],
    ['admin shutdown', coded('57P01')],
    ['crash shutdown', coded('57P02')],
    ['cannot connect now', coded('57P03')],
    ['read-only transaction', coded('25006')],
    ['serialization failure', coded('40001')],
    ['deadlock', coded('40P01')],
    ['lock timeout', coded('55P03')],
    ...['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'ENOTFOUND', 'EAI_AGAIN'].map(
      (code): [string, unknown] => [code, coded(code)],
    ),
    ['pg: terminated', new Error('Connection terminated')],
    ['pg: terminated unexpectedly', new Error('Connection terminated unexpectedly')],
    ['pg: terminated by timeout', new Error('Connection terminated due to connection timeout')],
    ['pg-pool: timeout', new Error('timeout exceeded when trying to connect')],
    ['pg: connect timeout', new Error('timeout expired')],
    ['pg: broken client', new Error('Client has encountered a connection error and is not queryable')],
    ['pg: closed client', new Error('Client was closed and is not queryable')],
    ['wrapped once', new Error('query failed', { cause: coded('57P01') })],
    ['wrapped by an ORM thrice', wrapped(coded('ECONNRESET'), 3)],
    ['not an Error, but coded', { code: '40001' }],
    ['wrapped in an error of ours', new ProduceError('x', { cause: coded('ECONNREFUSED') })],
  ])('sees %s', (_, error) => {
    expect(isInfrastructureError(error)).toBe(true);
  });

  it.each<[string, unknown]>([
    ['undefined', undefined],
    ['null', null],
    ['a string', 'Connection terminated'],
    ['a number', 57],
    ['a plain error', new Error('boom')],
    ['a unique violation', coded('23505')],
    ['a syntax error', coded('42601')],
    ['a query that was canceled', coded('57014')],
    ['an aborted transaction', coded('25P02')],
    ['object in use', coded('55006')],
    ['a code that only begins like one', coded('08006x')],
    ['a numeric code', Object.assign(new Error('x'), { code: 40001 })],
    ['a message that only mentions a connection', new Error('Customer said: Connection terminated')],
    ['a coded error with a message of pg', coded('42601', 'Connection terminated')],
    ['being fenced', new FencedError('x')],
    ['a swallowed database error', new TransactionAbortedError()],
    ['a reply timeout', new ReplyTimeoutError('x', 1)],
    ['a cause too deep to look for', wrapped(coded('40001'), 20)],
    ['a cycle of causes', cycle()],
    ['a hostile getter', hostileGetter()],
    ['a revoked proxy', revokedProxy()],
    ['a function', () => undefined],
  ])('does not take %s for one', (_, error) => {
    expect(isInfrastructureError(error)).toBe(false);
  });
});

function wrapped(error: unknown, times: number): unknown {
  return times === 0 ? error : wrapped(new Error('wrapped', { cause: error }), times - 1);
}

function cycle(): Error {
  const error = new Error('a');
  error.cause = new Error('b', { cause: error });
  return error;
}

function hostileGetter(): unknown {
  return Object.defineProperties(new Error('x'), {
    code: {
      get: () => {
        throw new Error('got you');
      },
    },
  });
}

function revokedProxy(): unknown {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
}
