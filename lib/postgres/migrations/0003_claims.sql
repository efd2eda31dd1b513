-- Steps of handlers, and claims: executions in work without an open transaction.

-- state: 5 claimed. Such a row is in work, or was left by a process that died; its claim says until when it is held.
alter table :"schema".execution drop constraint execution_state_check;
alter table :"schema".execution add constraint execution_state_check check (state between 1 and 5) not valid;

-- Who works on a claimed execution, and until when nobody else may. One row for each, gone when it has ended.
-- previous_state is what a release puts back: 2 where a new request took a failed execution over, 0 where there was none.
create table :"schema".claim (
  lease_until timestamptz not null,
  claimed_at timestamptz not null default clock_timestamp(),
  record_offset bigint not null,
  scope_id int not null,
  partition int not null,
  takeovers int not null default 0,
  previous_state smallint not null default 0,
  topic_id uuid not null,
  owner uuid not null,
  instance text not null,
  key bytea not null,
  constraint claim_pkey primary key (scope_id, key)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- Renewals and endings name the owner only.
create index claim_owner_idx on :"schema".claim (owner);

-- Results of the steps of an execution, in the order in which its handler runs them. They live as long as the execution.
-- A result that may not be stored because its claim is lost arrives as null, and the constraint refuses it.
create table :"schema".step (
  recorded_at timestamptz not null default clock_timestamp(),
  scope_id int not null,
  position int not null,
  key bytea not null,
  name text not null,
  result bytea constraint step_claim_held not null,
  constraint step_pkey primary key (scope_id, key, position)
);

create or replace view :"schema".executions as
select
  s.consumer_group,
  s.handler,
  :"schema".readable_key(e.key) as key,
  :"schema".key_kind(e.key) as key_kind,
  case e.state when 1 then 'completed' when 2 then 'failed' when 3 then 'dead' when 4 then 'skipped' when 5 then 'claimed' end
    as state,
  e.attempts,
  f.error_name,
  f.error_message,
  l.topic,
  e.topic_id,
  e.partition,
  e.record_offset,
  e.finished_at,
  e.scope_id,
  e.key as encoded_key
from :"schema".execution e
join :"schema".scope s on s.id = e.scope_id
left join :"schema".failure f on f.scope_id = e.scope_id and f.key = e.key
left join :"schema".fence l on l.scope_id = e.scope_id and l.topic_id = e.topic_id and l.partition = e.partition;

create view :"schema".claims as
select
  s.consumer_group,
  s.handler,
  :"schema".readable_key(c.key) as key,
  c.instance,
  c.lease_until,
  c.lease_until > clock_timestamp() as held,
  c.takeovers,
  l.topic,
  c.topic_id,
  c.partition,
  c.record_offset,
  c.claimed_at,
  c.scope_id,
  c.key as encoded_key
from :"schema".claim c
join :"schema".scope s on s.id = c.scope_id
left join :"schema".fence l on l.scope_id = c.scope_id and l.topic_id = c.topic_id and l.partition = c.partition;

create view :"schema".steps as
select
  s.consumer_group,
  s.handler,
  :"schema".readable_key(t.key) as key,
  t.position,
  t.name,
  octet_length(t.result) as bytes,
  t.recorded_at,
  t.scope_id,
  t.key as encoded_key
from :"schema".step t
join :"schema".scope s on s.id = t.scope_id;

insert into :"schema".schema_migration (version, name) values (3, 'claims');
