import { escapeIdentifier } from 'pg';
import { statementName, type Statement } from './statements.js';
import { AT_ONCE, STATE_NUMBERS } from './stored-values.js';

const { completed, failed, claimed } = STATE_NUMBERS;

/** Statements of claim mode. Parameters 1 to 4 of those that need a lane: scope, topic id, partition, epoch. */
export type ClaimStatements = ReturnType<typeof createClaimStatements>;

export function createClaimStatements(schema: string, prepare: boolean) {
  const s = escapeIdentifier(schema);
  const named = (name: string, text: string): Statement =>
    prepare ? { name: statementName(schema, name, text), text } : { text };

  // The lock has a successor's epoch wait for the end of this transaction: it finds whatever we claimed.
  const lane = (lock: 'share' | 'update') => `lane as (
      select 1 from ${s}.fence
      where scope_id = $1::int and topic_id = $2::uuid and partition = $3::int and epoch = $4::bigint for ${lock})`;
  const wanted = `unnest($5::bytea[], $6::bigint[], $7::bigint[]) as w (key, fingerprint, record_offset)`;
  const lease = (parameter: string) => `clock_timestamp() + ${parameter}::bigint * interval '1 millisecond'`;

  return {
    // Keys arrive sorted, as in transactions.
    hold: named(
      'hold',
      `with ${lane('share')},
       inserted as (
         insert into ${s}.execution
           (scope_id, key, state, fingerprint, topic_id, partition, record_offset, finished_at)
         select $1::int, w.key, ${claimed}, w.fingerprint, $2::uuid, $3::int, w.record_offset, ${AT_ONCE}
         from ${wanted} where exists (select 1 from lane)
         on conflict (scope_id, key) do nothing
         returning key, record_offset
       ),
       held as (
         insert into ${s}.claim (scope_id, key, owner, instance, lease_until, topic_id, partition, record_offset)
         select $1::int, i.key, $8::uuid, $9::text, ${lease('$10')}, $2::uuid, $3::int, i.record_offset from inserted i
       )
       select (select count(*) from lane)::int as in_lane,
         (select string_agg(encode(key, 'hex'), ',') from inserted) as keys`,
    ),
    takeOver: named(
      'take_over',
      `with ${lane('share')},
       over as (
         select c.key, w.record_offset
         from ${s}.claim c
         join ${wanted} on w.key = c.key
         join ${s}.execution e on e.scope_id = c.scope_id and e.key = c.key
         where c.scope_id = $1::int and c.lease_until <= clock_timestamp() and exists (select 1 from lane)
           and e.state = ${claimed} and e.fingerprint = w.fingerprint
         order by c.key for update of c
       ),
       taken as (
         update ${s}.claim c
         set owner = $8::uuid, instance = $9::text, lease_until = ${lease('$10')}, takeovers = c.takeovers + 1,
           topic_id = $2::uuid, partition = $3::int, record_offset = over.record_offset
         from over where c.scope_id = $1::int and c.key = over.key
         returning c.key
       )
       select (select count(*) from lane)::int as in_lane,
         (select string_agg(encode(key, 'hex'), ',') from taken) as keys`,
    ),
    holdFailed: named(
      'hold_failed',
      `with ${lane('share')},
       taken as (
         update ${s}.execution set state = ${claimed}
         where scope_id = $1::int and key = $5::bytea and state = ${failed} and exists (select 1 from lane)
         returning key
       ),
       held as (
         insert into ${s}.claim
           (scope_id, key, owner, instance, lease_until, topic_id, partition, record_offset, previous_state)
         select $1::int, key, $7::uuid, $8::text, ${lease('$9')}, $2::uuid, $3::int, $6::bigint, ${failed} from taken
       )
       select (select count(*) from lane)::int as in_lane, (select count(*) from taken)::int as taken`,
    ),
    // Locked in order: two processes that meet over the same rows would deadlock.
    renew: named(
      'renew',
      `with mine as (
         select scope_id, key from ${s}.claim where owner = any ($1::uuid[]) order by scope_id, key for update
       )
       update ${s}.claim c set lease_until = ${lease('$2')}
       from mine where c.scope_id = mine.scope_id and c.key = mine.key
       returning c.owner, c.key`,
    ),
    complete: named(
      'complete',
      `with ${lane('update')},
       mine as (
         delete from ${s}.claim c using ${wanted}
         where c.scope_id = $1::int and c.key = w.key and c.owner = $8::uuid and exists (select 1 from lane)
         returning c.key, c.previous_state, w.record_offset
       ),
       ended as (
         update ${s}.execution e
         set state = ${completed}, attempts = 1, topic_id = $2::uuid, partition = $3::int,
           record_offset = mine.record_offset, finished_at = ${AT_ONCE}
         from mine where e.scope_id = $1::int and e.key = mine.key
       ),
       -- The failure of a request that was asked anew is history; its error reply must not answer for the new run.
       failures as (
         delete from ${s}.failure f using mine
         where f.scope_id = $1::int and f.key = mine.key and mine.previous_state = ${failed}
       ),
       replies as (
         delete from ${s}.reply r using mine
         where r.scope_id = $1::int and r.key = mine.key and mine.previous_state = ${failed}
       )
       select (select count(*) from lane)::int as in_lane,
         (select string_agg(encode(key, 'hex'), ',') from mine) as keys,
         current_setting('synchronous_commit') as synchronous_commit`,
    ),
    release: named(
      'release_claims',
      `with mine as (
         select c.scope_id, c.key, c.previous_state,
           c.previous_state = 0 and exists (select 1 from ${s}.step t where t.scope_id = c.scope_id and t.key = c.key) as stays
         from ${s}.claim c where c.owner = $1::uuid and c.key = any ($2::bytea[])
         order by c.scope_id, c.key for update
       ),
       kept as (
         update ${s}.claim c set lease_until = clock_timestamp()
         from mine where c.scope_id = mine.scope_id and c.key = mine.key and mine.stays
       ),
       gone as (
         delete from ${s}.claim c using mine
         where c.scope_id = mine.scope_id and c.key = mine.key and not mine.stays
         returning c.scope_id, c.key, c.previous_state
       ),
       failed_again as (
         update ${s}.execution e set state = ${failed}
         from gone g where e.scope_id = g.scope_id and e.key = g.key and g.previous_state = ${failed}
       )
       delete from ${s}.execution e using gone g
       where e.scope_id = g.scope_id and e.key = g.key and g.previous_state = 0`,
    ),
  };
}
