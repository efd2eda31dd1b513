import { sharedEffect } from '../../../lib/postgres/shared-effect.js';
import { transactionEnd } from '../../../lib/postgres/transaction-end.js';

describe('transactionEnd', () => {
  it.each([
    ['commit', 'commit'],
    [' ;COMMIT;', 'COMMIT'],
    ['/* a */ -- b\n end', 'end'],
    ['insert into t values (1); commit', 'commit'],
    ["insert into t values (';'); abort; select 1", 'abort'],
    ["select e'it\\'s'; rollback; select 'x'", 'rollback'],
    ["select 'a''b' ;/* ; */ rollback work", 'rollback'],
    ['select $$;$$;prepare transaction $$x$$', 'prepare transaction'],
    ['select $1; commit; select $1', 'commit'],
  ])('finds it wherever it stands: %s', (text, command) => {
    expect(transactionEnd(text)).toBe(command);
  });

  it.each([
    'select 1; select 2;',
    "select '; commit'",
    "select e'\\'; commit'",
    'select 1 -- ; commit',
    'select /* ; commit; */ 1',
    'do $body$ begin perform 1; end $body$',
    'do $$ begin perform 1; commit; end $$',
    'select 1 as "a; commit"',
    "select case when true then ';' end",
    'rollback to savepoint a; select 1',
    'rollback transaction to a',
    'update t set commit = 1',
    'prepare p as select 1',
  ])('leaves alone what ends nothing: %s', (text) => {
    expect(transactionEnd(text)).toBeUndefined();
  });
});

describe('sharedEffect', () => {
  it.each([
    ["select e'it\\'s'; lock table t; select 'x'", 'LOCK'],
    ['/* a */ savepoint b', 'SAVEPOINT'],
    ["select 1; select set_config('a', 'b', true)", 'set_config()'],
  ])('is found wherever it stands: %s', (text, command) => {
    expect(sharedEffect(text)).toBe(command);
  });

  it.each(["select 'lock'; select 1", 'update t set a = 1', "select e'\\'; set a = 1'"])(
    'is not seen where there is none: %s',
    (text) => {
      expect(sharedEffect(text)).toBeUndefined();
    },
  );
});
