-- Records whose handler has failed for good, and wait for another try with the later ones of their key behind them.

-- One row per line of waiting records: while it is there, nothing of its name reaches the handler but its first record. It
-- is made with its first letter and goes with its last, in the transaction in which that one ends. A line is a key of a
-- partition, as a name that fits an index (see parkedSequence in the library).
-- failures, retries, first_failed_at and the error are of the first letter; order_* is what an operator wants to become of
-- letters up to an offset, as a state of execution: 3 dead, 4 skipped.
create table :"schema".parked_head (
  id bigint generated always as identity constraint parked_head_id_key unique,
  parked_at timestamptz not null default clock_timestamp(),
  due_at timestamptz not null,
  first_failed_at timestamptz,
  order_until bigint,
  scope_id int not null,
  partition int not null,
  letters int not null constraint parked_head_letters_check check (letters >= 0),
  failures int not null,
  retries int not null default 0,
  order_state smallint constraint parked_head_order_state_check check (order_state in (3, 4)),
  held boolean not null default false,
  topic_id uuid not null,
  sequence bytea not null,
  topic text not null,
  error_name text,
  error_message text,
  order_reason text,
  constraint parked_head_pkey primary key (scope_id, topic_id, partition, sequence),
  constraint parked_head_order_check check (num_nulls(order_state, order_until, order_reason) in (0, 3))
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);

-- The records themselves, in the order of their offsets. A letter for a line that is not there arrives without its name,
-- and the constraint refuses it with its whole transaction.
create table :"schema".parked_letter (
  record_offset bigint not null,
  record_timestamp bigint not null,
  parked_at timestamptz not null default clock_timestamp(),
  scope_id int not null,
  partition int not null,
  topic_id uuid not null,
  sequence bytea constraint parked_letter_sequence_parked not null,
  record_key bytea,
  record_value bytea,
  headers bytea not null,
  constraint parked_letter_pkey primary key (scope_id, topic_id, partition, sequence, record_offset)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

create view :"schema".parked_sequences as
select
  h.id,
  s.consumer_group,
  s.handler,
  h.topic,
  h.topic_id,
  h.partition,
  l.record_offset,
  l.record_key,
  h.letters,
  h.failures,
  h.retries,
  case when h.held then 'held' else 'waiting' end as state,
  case when not h.held then h.due_at end as next_retry,
  h.error_name,
  h.error_message,
  h.parked_at,
  h.scope_id,
  h.sequence
from :"schema".parked_head h
join :"schema".scope s on s.id = h.scope_id
cross join lateral (
  select record_offset, record_key from :"schema".parked_letter l
  where l.scope_id = h.scope_id and l.topic_id = h.topic_id and l.partition = h.partition and l.sequence = h.sequence
  order by record_offset limit 1
) l;

create view :"schema".parked_letters as
select
  s.consumer_group,
  s.handler,
  h.id as sequence_id,
  h.topic,
  l.topic_id,
  l.partition,
  l.record_offset,
  to_timestamp(l.record_timestamp / 1000.0) as record_timestamp,
  l.record_key,
  l.record_value,
  l.headers as packed_headers,
  l.parked_at,
  l.scope_id
from :"schema".parked_letter l
join :"schema".scope s on s.id = l.scope_id
left join :"schema".parked_head h
  on h.scope_id = l.scope_id and h.topic_id = l.topic_id and h.partition = l.partition and h.sequence = l.sequence;

insert into :"schema".schema_migration (version, name) values (6, 'parking');
