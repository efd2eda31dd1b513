import { UnsupportedError } from '../../../lib/errors/errors.js';
import { transactionCommand } from '../../../lib/postgres/transaction-command.js';

describe('transactionCommand', () => {
  it.each([
    ['begin', 'begin'],
    ['BEGIN;', 'begin'],
    ['  begin transaction', 'begin'],
    ['begin work', 'begin'],
    ['/* app */ START TRANSACTION -- now\n', 'begin'],
    ['start transaction isolation level read committed, read write', 'begin'],
    ['begin isolation level\n read committed', 'begin'],
    ['commit', 'commit'],
    ['COMMIT WORK;', 'commit'],
    ['end transaction', 'commit'],
    ['rollback', 'rollback'],
    ['ABORT', 'rollback'],
    ['rollback and no chain', 'rollback'],
    ['SET TRANSACTION ISOLATION LEVEL READ COMMITTED', 'given'],
    ['rollback to savepoint a', undefined],
    ['rollback transaction to a', undefined],
    ['savepoint a', undefined],
    ['commit and chain', undefined],
    ["commit prepared 'a'", undefined],
    ['set local work_mem = 1', undefined],
    ['select 1', undefined],
    ['', undefined],
    ['insert into beginnings values (1)', undefined],
  ])('takes %j for %s', (text, command) => {
    expect(transactionCommand(text)).toBe(command);
  });

  it.each([
    'begin isolation level serializable',
    'start transaction isolation level repeatable read',
    'begin read only',
    'start transaction deferrable',
    'set transaction isolation level serializable',
    'set transaction read only',
  ])('refuses %j and says why', (text) => {
    expect(() => transactionCommand(text)).toThrow(UnsupportedError);
    expect(() => transactionCommand(text)).toThrow(/READ COMMITTED and READ WRITE/);
  });

  it('refuses a text that goes on after its BEGIN', () => {
    expect(() => transactionCommand('begin; insert into t values (1)')).toThrow(/by itself/);
  });
});
