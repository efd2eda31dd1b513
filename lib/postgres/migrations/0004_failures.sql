-- Failures of records that are tried again, and what operators do about records that were given up on.

-- Records whose handler failed and runs again: how often it failed so far, so that a restart or a rebalance does not start
-- counting anew. Written by failures only, and gone when the record has ended. By position, since a record whose key is the
-- trouble has no other name.
create table :"schema".retry (
  first_failed_at timestamptz not null default clock_timestamp(),
  last_failed_at timestamptz not null default clock_timestamp(),
  record_offset bigint not null,
  scope_id int not null,
  partition int not null,
  failures int not null,
  topic_id uuid not null,
  error_name text not null,
  error_message text not null,
  constraint retry_pkey primary key (scope_id, topic_id, partition, record_offset)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

create view :"schema".retries as
select
  s.consumer_group,
  s.handler,
  l.topic,
  r.topic_id,
  r.partition,
  r.record_offset,
  r.failures,
  r.error_name,
  r.error_message,
  r.first_failed_at,
  r.last_failed_at,
  r.scope_id
from :"schema".retry r
join :"schema".scope s on s.id = r.scope_id
left join :"schema".fence l on l.scope_id = r.scope_id and l.topic_id = r.topic_id and l.partition = r.partition
-- What is below the fence has ended.
where l.next_offset is null or r.record_offset >= l.next_offset;

insert into :"schema".schema_migration (version, name) values (4, 'failures');
