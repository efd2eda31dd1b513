import { escapeIdentifier } from 'pg';
import type { Statement } from './statements.js';

/** Where something is parked, and for people: not prepared. */
export type ParkedStatements = ReturnType<typeof createParkedStatements>;

export function createParkedStatements(schema: string) {
  const s = escapeIdentifier(schema);
  const statement = (text: string): Statement => ({ text });
  const time = (column: string) => `(extract(epoch from ${column}) * 1000)::bigint`;
  const inPartition = `s.consumer_group = $1::text and h.topic = $2::text and h.partition = $3::int`;
  const fits = `($1::text is null or s.consumer_group = $1::text) and ($2::text is null or s.handler = $2::text)
         and ($3::text is null or h.topic = $3::text) and ($4::bigint is null or h.id = $4::bigint)`;
  const letters = (alias: string) =>
    `select record_offset from ${s}.parked_letter l where l.scope_id = ${alias}.scope_id and l.topic_id = ${alias}.topic_id
       and l.partition = ${alias}.partition and l.sequence = ${alias}.sequence order by record_offset`;
  return {
    partitions: statement(
      `select distinct w.position from ${s}.parked_head h
       join ${s}.scope s on s.id = h.scope_id
       join unnest($2::text[], $3::int[]) with ordinality as w (topic, partition, position)
         on w.topic = h.topic and w.partition = h.partition
       where s.consumer_group = $1::text`,
    ),
    due: statement(
      `select s.handler, h.topic_id, h.sequence, h.failures, h.retries,
         ${time('clock_timestamp() - h.first_failed_at')} as age,
         case when l.record_offset <= h.order_until then h.order_state end as order_state, h.order_reason,
         l.record_offset, l.record_timestamp, l.record_key, l.record_value, l.headers
       from (
         select h.* from ${s}.parked_head h join ${s}.scope s on s.id = h.scope_id
         where ${inPartition} and not h.held and h.due_at <= clock_timestamp()
         order by h.due_at limit $4::int
       ) h
       join ${s}.scope s on s.id = h.scope_id
       cross join lateral (
         select * from ${s}.parked_letter l
         where l.scope_id = h.scope_id and l.topic_id = h.topic_id and l.partition = h.partition
           and l.sequence = h.sequence
         order by l.record_offset limit 1
       ) l
       order by h.due_at`,
    ),
    waiting: statement(
      `select count(*) as sequences,
         ${time('min(h.due_at) filter (where not h.held) - clock_timestamp()')} as next
       from ${s}.parked_head h join ${s}.scope s on s.id = h.scope_id where ${inPartition}`,
    ),
    postpone: statement(
      `update ${s}.parked_head h
       set retries = retries + 1, failures = $7::int, error_name = $8::text, error_message = $9::text,
         held = $10::bigint is null,
         due_at = clock_timestamp() + coalesce($10::bigint, 0) * interval '1 millisecond',
         first_failed_at = coalesce(first_failed_at, clock_timestamp())
       where scope_id = $1::int and topic_id = $2::uuid and partition = $3::int and sequence = $4::bytea
         and retries = $6::int and $5::bigint = (${letters('h')} limit 1)`,
    ),
    holds: statement(
      `select 1 from ${s}.parked_letter
       where scope_id = $1::int and topic_id = $2::uuid and partition = $3::int and sequence = $4::bytea
         and record_offset = $5::bigint`,
    ),
    list: statement(
      `select h.id, s.consumer_group, s.handler, h.topic, h.topic_id, h.partition, l.record_offset, l.record_key, h.letters,
         h.failures, h.retries, h.held, ${time('h.due_at')} as due_at, ${time('h.parked_at')} as parked_at,
         h.error_name, h.error_message
       from ${s}.parked_head h
       join ${s}.scope s on s.id = h.scope_id
       cross join lateral (
         select record_offset, record_key from ${s}.parked_letter l
         where l.scope_id = h.scope_id and l.topic_id = h.topic_id and l.partition = h.partition
           and l.sequence = h.sequence
         order by l.record_offset limit 1
       ) l
       where ${fits} and h.id > $5::bigint order by h.id limit $6::int`,
    ),
    retry: statement(
      `update ${s}.parked_head set due_at = clock_timestamp(), held = false, retries = 0
       where id in (
         select h.id from ${s}.parked_head h join ${s}.scope s on s.id = h.scope_id
         where ${fits}
         order by h.id for update of h)`,
    ),
    order: statement(
      `update ${s}.parked_head h set order_state = $2::smallint, order_reason = $3::text, held = false,
         due_at = clock_timestamp(),
         order_until = case when $4::boolean
           then (select max(record_offset) from (${letters('h')}) all_of_it) else (${letters('h')} limit 1) end
       where id = $1::bigint`,
    ),
  };
}
