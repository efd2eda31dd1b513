import { escapeIdentifier } from 'pg';
import type { Statement } from './statements.js';
import { STATE_NUMBERS } from './stored-values.js';

/** Statements that keep the ledger in order. They run every few seconds at most, and are not prepared. */
export type CareStatements = ReturnType<typeof createCareStatements>;

/** A parameter in milliseconds as an age. */
const age = (parameter: string) => `${parameter}::bigint * interval '1 millisecond'`;

/** First bytes of encoded keys: given as UUID or text, message ids as UUID or text, positions. */
const GIVEN = `('\\x47', '\\x67')`;

/** Whether an execution's key is its position, and nothing else: where the fence has passed it, nobody asks for it again. */
const ownPosition = (e: string) =>
  `${e}.key = '\\x70'::bytea || uuid_send(${e}.topic_id) || int4send(${e}.partition) || int8send(${e}.record_offset)`;

export function createCareStatements(schema: string) {
  const s = escapeIdentifier(schema);
  const statement = (text: string): Statement => ({ text });
  // Single values, known before the walk begins: it then follows the primary key without sorting anything.
  const reached = (target: 'execution' | 'reply') =>
    `(select coalesce(max(scope_id), -1) from ${s}.pruning where target = '${target}'),
          (select coalesce((select key from ${s}.pruning where target = '${target}'), ''))`;
  // $1 and $2 are ages: of keys that were given, and of others.
  const aged = (e: string) =>
    `${e}.finished_at < clock_timestamp() - case
       when ${e}.state = ${STATE_NUMBERS.dead} or substring(${e}.key from 1 for 1) in ${GIVEN} then ${age('$1')}
       else ${age('$2')} end`;
  const over = (e: string) =>
    `case ${e}.state
       when ${STATE_NUMBERS.claimed} then false
       when ${STATE_NUMBERS.completed} then ${aged(e)} or ${ownPosition(e)}
       else ${aged(e)} end`;
  return {
    beat: statement(
      `insert into ${s}.instance (id) values ($1::text)
       on conflict (id) do update set seen_at = clock_timestamp()`,
    ),
    leave: statement(`delete from ${s}.instance where id = $1::text`),
    // Of processes that died with nobody to take over from them, or whose members were gone before.
    forgetMembers: statement(
      `delete from ${s}.member m where not exists (
         select 1 from ${s}.instance i
         where i.id = m.instance and i.seen_at > clock_timestamp() - interval '10 minutes')`,
    ),
    forgetInstances: statement(
      `delete from ${s}.instance where seen_at < clock_timestamp() - interval '1 day'`,
    ),

    // Of records that have ended, and of topics that nobody reads any more.
    forgetRetries: statement(
      `delete from ${s}.retry r
       where r.last_failed_at < clock_timestamp() - ${age('$1')}
         or exists (
           select 1 from ${s}.fence f
           where f.scope_id = r.scope_id and f.topic_id = r.topic_id and f.partition = r.partition
             and f.next_offset > r.record_offset)`,
    ),

    // Locks of the transaction, not of the session: poolers that share sessions keep them where they belong.
    lock: statement(`select pg_try_advisory_xact_lock(hashtextextended($1::text, 0)) as locked`),

    sweep: statement(
      `select o.seq, o.id, o.topic, o.record_partition, o.key, o.value, o.headers
       from ${s}.outbox o
       left join ${s}.fence f on f.scope_id = o.scope_id and f.topic_id = o.topic_id and f.partition = o.partition
       where o.seq > $1::bigint
         and o.created_at < clock_timestamp() - ${age('$2')}
         and (o.created_at < clock_timestamp() - ${age('$3')}
           or not exists (
             select 1 from ${s}.instance i where i.id = f.owner and i.seen_at > clock_timestamp() - ${age('$4')}))
       order by o.seq
       limit $5::int
       for update of o skip locked`,
    ),
    forgetOutbox: statement(`delete from ${s}.outbox where id = any ($1::uuid[])`),

    // One stretch of a walk along the primary key. Times would not do: their index is by ranges of pages, and where
    // deleted rows make room for new ones each range soon holds some of every age.
    pruneExecutions: statement(
      `with stretch as (
         select e.scope_id, e.key, e.state, e.finished_at, e.topic_id, e.partition, e.record_offset
         from ${s}.execution e
         where (e.scope_id, e.key) > (${reached('execution')})
         order by e.scope_id, e.key
         limit $3::int
       ), due as (
         select scope_id, key from stretch e
         where ${over('e')}
           and exists (
             select 1 from ${s}.fence f
             where f.scope_id = e.scope_id and f.topic_id = e.topic_id and f.partition = e.partition
               and f.next_offset > e.record_offset)
       ), locked as (
         -- Whatever a handler is at is left for the next time. Asked again: a new request may have taken a failed
         -- execution over since the stretch was read.
         select e.scope_id, e.key, ${aged('e')} as aged
         from ${s}.execution e join due on e.scope_id = due.scope_id and e.key = due.key
         where ${over('e')}
         for update of e skip locked
       ), executions as (
         delete from ${s}.execution e using locked where e.scope_id = locked.scope_id and e.key = locked.key
         returning e.scope_id, e.key, locked.aged
       ), replies as (
         -- Below the fence the reply still answers a request that is delivered again.
         delete from ${s}.reply r using executions e where r.scope_id = e.scope_id and r.key = e.key and e.aged
       ), failures as (
         delete from ${s}.failure f using executions e where f.scope_id = e.scope_id and f.key = e.key
       ), letters as (
         delete from ${s}.dead_letter d using executions e where d.scope_id = e.scope_id and d.key = e.key
       ), steps as (
         delete from ${s}.step t using executions e where t.scope_id = e.scope_id and t.key = e.key
       ), reached as (
         select scope_id, key from stretch order by scope_id desc, key desc limit 1
       ), moved as (
         -- A stretch that is shorter than allowed was the last: the next one starts at the beginning.
         update ${s}.pruning set
           scope_id = case when n = $3::int then (select scope_id from reached) end,
           key = case when n = $3::int then (select key from reached) end
         from (select count(*) as n from stretch) counted
         where target = 'execution'
       )
       select (select count(*) from executions) as deleted, (select count(*) from stretch) as seen`,
    ),
    // Claims that nobody has taken over for so long, and the executions and steps that they are about.
    pruneClaims: statement(
      `with due as (
         select scope_id, key from ${s}.claim
         where lease_until < clock_timestamp() - greatest(${age('$1')}, ${age('$2')})
           -- Of a parked record, however long it waits: its steps are not to be repeated.
           and not exists (
             select 1 from ${s}.parked_letter l
             where l.scope_id = claim.scope_id and l.topic_id = claim.topic_id and l.partition = claim.partition
               and l.record_offset = claim.record_offset)
         limit $3::int for update skip locked
       ), claims as (
         delete from ${s}.claim c using due where c.scope_id = due.scope_id and c.key = due.key
       ), steps as (
         delete from ${s}.step t using due where t.scope_id = due.scope_id and t.key = due.key
       ), failures as (
         delete from ${s}.failure f using due where f.scope_id = due.scope_id and f.key = due.key
       ), executions as (
         delete from ${s}.execution e using due
         where e.scope_id = due.scope_id and e.key = due.key and e.state = ${STATE_NUMBERS.claimed} returning 1
       )
       select (select count(*) from executions) as deleted, (select count(*) from due) as seen`,
    ),
    // Replies without an execution: of requests that are known by their position only.
    pruneReplies: statement(
      `with stretch as (
         select r.scope_id, r.key, r.created_at
         from ${s}.reply r
         where (r.scope_id, r.key) > (${reached('reply')})
         order by r.scope_id, r.key
         limit $2::int
       ), due as (
         select scope_id, key from stretch r
         where created_at < clock_timestamp() - ${age('$1')}
           and not exists (select 1 from ${s}.execution e where e.scope_id = r.scope_id and e.key = r.key)
       ), replies as (
         delete from ${s}.reply r using due
         where r.scope_id = due.scope_id and r.key = due.key and r.created_at < clock_timestamp() - ${age('$1')}
         returning 1
       ), reached as (
         select scope_id, key from stretch order by scope_id desc, key desc limit 1
       ), moved as (
         update ${s}.pruning set
           scope_id = case when n = $2::int then (select scope_id from reached) end,
           key = case when n = $2::int then (select key from reached) end
         from (select count(*) as n from stretch) counted
         where target = 'reply'
       )
       select (select count(*) from replies) as deleted, (select count(*) from stretch) as seen`,
    ),
  };
}
