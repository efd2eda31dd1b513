import { escapeIdentifier } from 'pg';
import type { Statement } from './statements.js';

/** Statements by which processes tell each other of their members. Not prepared: poolers may be in between. */
export type MemberStatements = ReturnType<typeof createMemberStatements>;

export function createMemberStatements(schema: string) {
  const s = escapeIdentifier(schema);
  const statement = (text: string): Statement => ({ text });
  const milliseconds = (parameter: string) => `${parameter}::int * interval '1 millisecond'`;
  return {
    // $1 instance, $2 and $3 its members, $4 key of its lock or null, $5 its lease and $6 what may be left of that before
    // it is renewed, $7 groups to be looked at. Writes nothing where nothing has changed: an "on conflict" would lock the
    // row each time. A lock that is free is held by this statement only, and shared with others that look.
    announce: statement(
      `with wanted as (
         select * from unnest($2::text[], $3::text[]) as w (consumer_group, member_id)
       ), withdrawn as (
         delete from ${s}.member m
         where m.instance = $1::text and not exists (
           select 1 from wanted w where w.consumer_group = m.consumer_group and w.member_id = m.member_id)
       ), announced as (
         insert into ${s}.member (consumer_group, member_id, instance, lock_key, lease_until)
         select w.consumer_group, w.member_id, $1::text, $4::bigint,
           case when $4::bigint is null then clock_timestamp() + ${milliseconds('$5')} end
         from wanted w
         where not exists (
           select 1 from ${s}.member m
           where m.consumer_group = w.consumer_group and m.member_id = w.member_id and m.instance = $1::text
             and m.lock_key is not distinct from $4::bigint
             and ($4::bigint is not null or m.lease_until > clock_timestamp() + ${milliseconds('$6')}))
         on conflict (consumer_group, member_id) do update
           set instance = excluded.instance, lock_key = excluded.lock_key, lease_until = excluded.lease_until
       )
       select m.consumer_group, m.member_id, m.instance,
         case when m.lock_key is null then m.lease_until > clock_timestamp()
           else not pg_try_advisory_xact_lock_shared(m.lock_key) end as alive
       from ${s}.member m
       where m.consumer_group = any ($7::text[]) and m.instance <> $1::text`,
    ),
    forget: statement(`delete from ${s}.member where consumer_group = $1::text and member_id = $2::text`),
    withdraw: statement(`delete from ${s}.member where instance = $1::text`),
  };
}
