-- The ledger: executions by idempotency key, fences, replies, outbox, dead letters.
--
-- :"schema" is the schema's name, quoted; psql substitutes it too (-v schema=durable_kafka). The schema exists already.
-- A released migration is never changed.

create table :"schema".schema_migration (
  version int not null constraint schema_migration_pkey primary key,
  name text not null,
  applied_at timestamptz not null default clock_timestamp()
);

-- Where an idempotency key is unique: a consumer group and a handler. Other tables carry the number, not the names.
create table :"schema".scope (
  id int generated always as identity constraint scope_pkey primary key,
  consumer_group text not null,
  handler text not null,
  constraint scope_name_key unique (consumer_group, handler)
);

-- One row per key that has ended. The claim writes it as completed before the handler runs: nobody sees it unless that
-- transaction commits, and a twin's insert waits for it. Columns go from wide to narrow so that no padding is stored,
-- and none is null, so that rows carry no null bitmap.
-- state: 1 completed, 2 failed, 3 dead, 4 skipped
create table :"schema".execution (
  fingerprint bigint not null,
  record_offset bigint not null,
  finished_at timestamptz not null default clock_timestamp(),
  scope_id int not null,
  partition int not null,
  attempts int not null default 1,
  state smallint not null constraint execution_state_check check (state between 1 and 4),
  topic_id uuid not null,
  key bytea not null,
  constraint execution_pkey primary key (scope_id, key)
);

-- For pruning by age: rows arrive in the order of time, so a few bytes per megabyte are enough.
create index execution_finished_at_brin on :"schema".execution using brin (finished_at) with (autosummarize = on);

-- Why an execution ended otherwise than completed. Apart from it, to keep the many completed ones narrow.
create table :"schema".failure (
  scope_id int not null,
  key bytea not null,
  error_name text not null,
  error_message text not null,
  constraint failure_pkey primary key (scope_id, key)
);

-- Everything of a lane below next_offset has ended. Each group of records updates its row once: the free space in the
-- page keeps these updates away from the index.
-- previous_offset is where the fence stood before its last move: a release in the same transaction goes back no further.
create table :"schema".fence (
  scope_id int not null,
  topic_id uuid not null,
  partition int not null,
  next_offset bigint not null,
  previous_offset bigint not null,
  epoch bigint not null,
  taken_at timestamptz not null default clock_timestamp(),
  topic text not null,
  owner text not null,
  constraint fence_pkey primary key (scope_id, topic_id, partition)
) with (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- Epochs come from one sequence: none is used twice, even if fences are deleted and taken anew.
create sequence :"schema".fence_epoch as bigint;

create table :"schema".reply (
  created_at timestamptz not null default clock_timestamp(),
  scope_id int not null,
  key bytea not null,
  body bytea not null,
  constraint reply_pkey primary key (scope_id, key)
);

create index reply_created_at_brin on :"schema".reply using brin (created_at) with (autosummarize = on);

-- Records to produce once their transaction has committed. Rows live for milliseconds; what a crash leaves behind is
-- handed to the lane's next owner in the order of seq. topic_id and partition say the lane, not the destination.
create table :"schema".outbox (
  seq bigint generated always as identity,
  created_at timestamptz not null default clock_timestamp(),
  scope_id int not null,
  partition int not null,
  record_partition int,
  topic_id uuid not null,
  id uuid not null constraint outbox_pkey primary key,
  topic text not null,
  key bytea,
  value bytea,
  headers bytea not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

create index outbox_lane_idx on :"schema".outbox (scope_id, topic_id, partition, seq);

-- Records that were given up on, with all their bytes.
create table :"schema".dead_letter (
  record_offset bigint not null,
  record_timestamp bigint not null,
  died_at timestamptz not null default clock_timestamp(),
  scope_id int not null,
  partition int not null,
  topic_id uuid not null,
  topic text not null,
  reason text not null,
  key bytea not null,
  record_key bytea,
  record_value bytea,
  headers bytea not null,
  constraint dead_letter_pkey primary key (scope_id, key)
);

create index dead_letter_died_at_idx on :"schema".dead_letter (died_at);

-- What an encoded idempotency key says: the reverse of the library's key encoding. The first byte tells the kind.
create function :"schema".readable_key(encoded bytea) returns text
language plpgsql immutable strict as $$
declare
  tag int;
  bytes bytea;
begin
  tag := get_byte(encoded, 0);
  bytes := substring(encoded from 2);
  if tag in (71, 77) then -- G, M: a UUID in 16 bytes
    return encode(bytes, 'hex')::uuid;
  elsif tag = 112 then -- p: topic id, partition, offset
    return encode(substring(bytes from 1 for 16), 'hex')::uuid
      || '/' || ('x' || encode(substring(bytes from 17 for 4), 'hex'))::bit(32)::bigint
      || '/' || ('x' || encode(substring(bytes from 21 for 8), 'hex'))::bit(64)::bigint;
  end if;
  return convert_from(bytes, 'UTF8');
exception when others then
  -- Any bytes may be a key; a reader's query must not fail on them.
  return encode(encoded, 'escape');
end
$$;

create function :"schema".key_kind(encoded bytea) returns text
language sql immutable strict as $$
  select case encode(substring(encoded from 1 for 1), 'escape')
    when 'G' then 'given' when 'g' then 'given'
    when 'M' then 'message-id' when 'm' then 'message-id'
    when 'p' then 'position'
    else 'unknown'
  end
$$;

-- For readers: names stay, tables below them may change.
create view :"schema".executions as
select
  s.consumer_group,
  s.handler,
  :"schema".readable_key(e.key) as key,
  :"schema".key_kind(e.key) as key_kind,
  case e.state when 1 then 'completed' when 2 then 'failed' when 3 then 'dead' when 4 then 'skipped' end as state,
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

create view :"schema".dead_letters as
select
  s.consumer_group,
  s.handler,
  :"schema".readable_key(d.key) as key,
  d.reason,
  e.attempts,
  f.error_name,
  f.error_message,
  d.topic,
  d.topic_id,
  d.partition,
  d.record_offset,
  to_timestamp(d.record_timestamp / 1000.0) as record_timestamp,
  d.record_key,
  d.record_value,
  d.headers as packed_headers,
  d.died_at,
  d.scope_id,
  d.key as encoded_key
from :"schema".dead_letter d
join :"schema".scope s on s.id = d.scope_id
left join :"schema".execution e on e.scope_id = d.scope_id and e.key = d.key
left join :"schema".failure f on f.scope_id = d.scope_id and f.key = d.key;

create view :"schema".fences as
select s.consumer_group, s.handler, f.topic, f.topic_id, f.partition, f.next_offset, f.epoch, f.owner, f.taken_at, f.scope_id
from :"schema".fence f
join :"schema".scope s on s.id = f.scope_id;

create view :"schema".undispatched as
select s.consumer_group, s.handler, o.id, o.topic, o.record_partition, o.created_at, o.topic_id as lane_topic_id,
  o.partition as lane_partition, o.seq
from :"schema".outbox o
join :"schema".scope s on s.id = o.scope_id;

insert into :"schema".schema_migration (version, name) values (1, 'ledger');
