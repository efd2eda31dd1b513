-- What ended otherwise than completed is found by its failure, which each of these executions has. An index of executions
-- that says so had each completion of a claim write all of the row's index entries anew: Postgres updates a row in its
-- place only if no index but those by ranges of pages is about a column that changes, in its condition either.

-- In the order in which everybody else locks them, executions first.
drop index :"schema".execution_unsuccessful_idx;
-- No statement looks for replies by their time: pruning goes by their keys.
drop index :"schema".reply_created_at_brin;

-- As the execution's finished_at. The default is for versions before this one.
alter table :"schema".failure add column ended_at timestamptz;
update :"schema".failure f set ended_at = e.finished_at
from :"schema".execution e where e.scope_id = f.scope_id and e.key = f.key;
-- None is expected to be left: one without its execution is nobody's.
delete from :"schema".failure where ended_at is null;
alter table :"schema".failure
  alter column ended_at set default clock_timestamp(),
  alter column ended_at set not null;

create index failure_ended_at_idx on :"schema".failure (ended_at);

insert into :"schema".schema_migration (version, name) values (9, 'endings');
