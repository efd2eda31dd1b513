-- For fail-over: which member of which consumer group is behind which process, and how to see that the process lives.

-- A process lives while a session of its holds the advisory lock lock_key; it cannot die without losing it. Where sessions
-- are shared by a pooler there is no such lock: lock_key is null then, and the process renews lease_until.
create table :"schema".member (
  consumer_group text not null,
  member_id text not null,
  instance text not null,
  lock_key bigint,
  lease_until timestamptz,
  announced_at timestamptz not null default clock_timestamp(),
  constraint member_pkey primary key (consumer_group, member_id),
  constraint member_life_check check (num_nulls(lock_key, lease_until) = 1)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);

create view :"schema".members as
select consumer_group, member_id, instance, announced_at, lease_until from :"schema".member;

insert into :"schema".schema_migration (version, name) values (5, 'members');
