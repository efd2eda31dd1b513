-- For operating the ledger: who is alive, where pruning stands, outbox records that no lane wrote, and finding what did
-- not end well.

-- Processes that work with this ledger. A lane whose owner (fence.owner) was not seen for a while has nobody to produce
-- what it left in the outbox.
create table :"schema".instance (
  id text not null constraint instance_pkey primary key,
  started_at timestamptz not null default clock_timestamp(),
  seen_at timestamptz not null default clock_timestamp()
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);

-- How far each walk through a table has come: whoever goes on starts behind this key. Both are null at the beginning.
create table :"schema".pruning (
  target text not null constraint pruning_pkey primary key,
  scope_id int,
  key bytea
);

insert into :"schema".pruning (target) values ('execution'), ('reply');

-- Records written outside any handler have no lane: a sweep is the one that finds them after a crash.
alter table :"schema".outbox
  alter column scope_id drop not null,
  alter column topic_id drop not null,
  alter column partition drop not null,
  add constraint outbox_lane_check check (num_nulls(scope_id, topic_id, partition) in (0, 3));

create or replace view :"schema".undispatched as
select s.consumer_group, s.handler, o.id, o.topic, o.record_partition, o.created_at, o.topic_id as lane_topic_id,
  o.partition as lane_partition, o.seq
from :"schema".outbox o
left join :"schema".scope s on s.id = o.scope_id;

-- Few among many: costs nothing where all goes well, and answers "what is dead?" at once.
create index execution_unsuccessful_idx on :"schema".execution (finished_at) where state <> 1;

create view :"schema".instances as
select id, started_at, seen_at from :"schema".instance;

insert into :"schema".schema_migration (version, name) values (2, 'operations');
