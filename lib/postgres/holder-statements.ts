import { escapeIdentifier } from 'pg';
import type { Statement } from './statements.js';

/** Statements about whose open transactions hold lanes. Not prepared: all but the first are rarely run. */
export type HolderStatements = ReturnType<typeof createHolderStatements>;

export function createHolderStatements(schema: string) {
  const s = escapeIdentifier(schema);
  const statement = (text: string): Statement => ({ text });

  // What backends of this library hold that may be a lane: a transaction that moved a fence is its row's xmax, and one
  // that shares a lane holds its lock.
  const holders = `
    select l.pid, l.transactionid::text as xid, (l.classid::bigint << 32) | l.objid::bigint as lock
    from pg_locks l
    join pg_stat_activity a on a.pid = l.pid
    where l.granted and a.pid <> pg_backend_pid()
      and a.datname = current_database() and a.usename = session_user
      and a.application_name = current_setting('application_name') and a.application_name <> ''
      and (l.locktype = 'transactionid' and l.mode = 'ExclusiveLock'
        or l.locktype = 'advisory' and l.mode = 'ShareLock' and l.objsubid = 1 and l.database = a.datid)`;

  return {
    // Of whoever waits: those that wait for others that wait are among them, so nobody is missed. Where nobody waits, as
    // nearly always, it looks at no lock.
    findBlockers: statement(
      `select distinct unnest(pg_blocking_pids(pid)) as pid from pg_stat_activity
       where datname = current_database() and wait_event_type = 'Lock'
         and query_start < clock_timestamp() - interval '1 second'`,
    ),
    // $1 backends
    findHeld: statement(`select xid, lock from (${holders}) h where pid = any ($1::int[])`),
    // $1 groups, $2 the owner, or null for all but $3
    findLanes: statement(
      `select c.consumer_group, f.scope_id, f.topic, f.topic_id, f.partition, f.owner, f.xmax::text as xid
       from ${s}.fence f join ${s}.scope c on c.id = f.scope_id
       where c.consumer_group = any ($1::text[]) and f.owner = coalesce($2::text, f.owner) and f.owner <> $3::text`,
    ),
    // $1 ids of transactions, $2 locks of lanes
    endHolders: statement(
      `select pg_terminate_backend(pid) as ended
       from (
         select distinct pid from (${holders}) h where xid = any ($1::text[]) or lock = any ($2::bigint[])
       ) h`,
    ),
  };
}
