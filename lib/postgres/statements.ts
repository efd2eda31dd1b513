import { hash } from 'node:crypto';
import { escapeIdentifier } from 'pg';
import type { Lane } from '../execution/ledger.js';
import { digest64 } from '../messages/digest.js';
import { createLaneStatements, fenceConditions } from './lane-statements.js';
import { createParkingStatements } from './parking-statements.js';
import { createStepStatements } from './step-statements.js';
import { AT_ONCE, STATE_NUMBERS } from './stored-values.js';

/** A statement whose text never changes, so that Postgres may keep it prepared under its name. */
export interface Statement {
  /** Absent where statements are not to be prepared: behind a pooler that hands out another backend each time. */
  readonly name?: string | undefined;
  readonly text: string;
}

/** Longest name that Postgres keeps apart from others. */
const MAX_NAME_BYTES = 63;

/**
 * Every statement of the ledger's daily work, for one schema. Parameters are described by the callers; all of them are
 * typed in the text, so that nothing depends on how Postgres guesses.
 */
export type Statements = ReturnType<typeof createStatements>;

export function createStatements(schema: string, prepare: boolean) {
  const s = escapeIdentifier(schema);
  const named = (name: string, text: string): Statement =>
    prepare ? { name: statementName(schema, name, text), text } : { text };

  const { moving, sharing } = fenceConditions(s);

  const conclude = (holding: string) =>
    `with held as (${holding}),
       written as (
         insert into ${s}.execution (scope_id, key, state, fingerprint, topic_id, partition, record_offset, attempts)
         select $1::int, $6::bytea, $7::smallint, $8::bigint, $2::uuid, $3::int, $9::bigint, $10::int
         where exists (select 1 from held)
         on conflict (scope_id, key) do nothing
         returning 1
       )
       select (select count(*) from held)::int as held, (select count(*) from written)::int as written`;

  // A claim that anybody may have. Locked before its execution, by everybody.
  const over = `over as (
    select 1 from ${s}.claim
    where scope_id = $1::int and key = $2::bytea and lease_until <= clock_timestamp() for update)`;

  return {
    findScope: named(
      'find_scope',
      `select id from ${s}.scope where consumer_group = $1::text and handler = $2::text`,
    ),
    addScope: named(
      'add_scope',
      `insert into ${s}.scope (consumer_group, handler) values ($1::text, $2::text)
       on conflict (consumer_group, handler) do nothing`,
    ),

    // The epoch is drawn again in the update because values() was computed before the wait for the row.
    takeFence: named(
      'take_fence',
      `insert into ${s}.fence (scope_id, topic_id, partition, next_offset, previous_offset, epoch, topic, owner,
         leader_owner)
       values ($1::int, $2::uuid, $3::int, 0, 0, nextval('${s.replaceAll("'", "''")}.fence_epoch'), $4::text, $5::text,
         hashtext($5::text))
       on conflict (scope_id, topic_id, partition) do update
         set epoch = nextval('${s.replaceAll("'", "''")}.fence_epoch'), topic = excluded.topic, owner = excluded.owner,
             taken_at = excluded.taken_at,
             leader_epoch = case when fence.leader_owner = hashtext(fence.owner) then fence.leader_epoch end,
             leader_owner = excluded.leader_owner
       returning epoch, next_offset, leader_epoch`,
    ),
    // What an earlier topic of this name left behind comes along: nobody else will ever ask for it.
    findUndispatched: named(
      'find_undispatched',
      `select id, topic, record_partition, key, value, headers from ${s}.outbox
       where scope_id = $1::int and partition = $3::int and topic_id in (
         select topic_id from ${s}.fence
         where scope_id = $1::int and partition = $3::int and (topic_id = $2::uuid or topic = $4::text))
       order by seq`,
    ),
    findInWork: named(
      'find_in_work',
      `select record_offset from ${s}.claim where scope_id = $1::int and topic_id = $2::uuid and partition = $3::int`,
    ),
    // Whoever shares a lane holds this until its transaction ends; whoever takes its fence waits for all of them, and the
    // queue is fair. An advisory lock and not one of the fence's row: no row is written for it, the fence may be moved
    // meanwhile, and the statements that follow see what they waited for.
    laneLock: (scopeId: number, lane: Lane) => laneLock(schema, scopeId, lane),
    shareLane: named('share_lane', `select pg_advisory_xact_lock_shared($1::bigint)`),
    lockLane: named('lock_lane', `select pg_advisory_xact_lock($1::bigint)`),
    // The highest position that has a row. Keys of positions sort by their offsets.
    lastPosition: named(
      'last_position',
      `select record_offset from ${s}.execution
       where scope_id = $1::int and key between $2::bytea and $3::bytea
       order by key desc limit 1`,
    ),
    // Who stands in the way: an open transaction that updated the row is its xmax, and holds a lock on that transaction's
    // id; one that shares the lane holds its lock. A blocker of another kind (a table lock, a row lock taken by hand) is
    // not ours to end and is not found. Neither is who takes the fence just now, having waited for the same owner as we:
    // it has the lane to itself, and a moment ago its last statement.
    endFenceHolder: named(
      'end_fence_holder',
      `with lane as (
         select l.pid, l.mode from pg_locks l
         join pg_database d on d.oid = l.database and d.datname = current_database()
         where l.locktype = 'advisory' and l.objsubid = 1 and l.granted
           and (l.classid::bigint << 32) | l.objid::bigint = $4::bigint
       )
       select a.pid, pg_terminate_backend(a.pid) as ended
       from (
         select l.pid from ${s}.fence f
         join pg_locks l on l.locktype = 'transactionid' and l.transactionid = f.xmax and l.mode = 'ExclusiveLock' and l.granted
         where f.scope_id = $1::int and f.topic_id = $2::uuid and f.partition = $3::int
         union
         select pid from lane where mode = 'ShareLock'
       ) holder
       join pg_stat_activity a on a.pid = holder.pid
       where a.pid <> pg_backend_pid()
         and (a.state_change < clock_timestamp() - interval '4 s'
           or a.pid not in (select pid from lane where mode = 'ExclusiveLock'))
         and a.usename = session_user
         and a.datname = current_database()
         and a.application_name = current_setting('application_name')
         and a.application_name <> ''`,
    ),

    findExecutions: named(
      'find_executions',
      `select key, state, fingerprint, topic_id, partition, record_offset from ${s}.execution
       where scope_id = $1::int and key = any ($2::bytea[])`,
    ),
    reclaim: named(
      'reclaim',
      `with ${over},
       before as (
         select * from ${s}.execution
         where scope_id = $1::int and key = $2::bytea
           and (state = ${STATE_NUMBERS.failed} or (state = ${STATE_NUMBERS.claimed} and exists (select 1 from over)))
         for update
       )
       update ${s}.execution e
       set state = ${STATE_NUMBERS.completed}, fingerprint = $3::bigint, topic_id = $4::uuid, partition = $5::int,
         record_offset = $6::bigint, attempts = 1, finished_at = clock_timestamp()
       from before b
       where e.scope_id = b.scope_id and e.key = b.key
       returning b.state, b.fingerprint, b.topic_id, b.partition, b.record_offset, b.attempts, b.finished_at::text`,
    ),
    // The reverse of reclaim, within its transaction.
    restore: named(
      'restore',
      `update ${s}.execution
       set state = $3::smallint, fingerprint = $4::bigint, topic_id = $5::uuid, partition = $6::int,
         record_offset = $7::bigint, attempts = $8::int, finished_at = $9::timestamptz
       where scope_id = $1::int and key = $2::bytea`,
    ),

    releaseShared: named(
      'release_shared',
      `delete from ${s}.execution where scope_id = $1::int and key = any ($2::bytea[])`,
    ),
    release: named(
      'release',
      `with rewound as (
         update ${s}.fence set next_offset = greatest(previous_offset, $5::bigint)
         where scope_id = $1::int and topic_id = $2::uuid and partition = $3::int and epoch = $4::bigint
       )
       delete from ${s}.execution where scope_id = $1::int and key = any ($6::bytea[])`,
    ),
    // Bodies come as one run of bytes with their bounds: an array of bytea would travel as hex, twice the size.
    addReplies: named(
      'add_replies',
      `insert into ${s}.reply (scope_id, key, body, created_at)
       select w.scope_id, w.key, substring($5::bytea from w.start for w.length), ${AT_ONCE}
       from unnest($1::int[], $2::bytea[], $3::int[], $4::int[]) as w (scope_id, key, start, length)
       on conflict (scope_id, key) do update set body = excluded.body, created_at = excluded.created_at`,
    ),
    findReplies: named(
      'find_replies',
      `select key, body from ${s}.reply where scope_id = $1::int and key = any ($2::bytea[])`,
    ),
    forgetBefore: named(
      'forget_before',
      `with forgotten as (delete from ${s}.failure where scope_id = $1::int and key = $2::bytea),
       unclaimed as (delete from ${s}.claim where scope_id = $1::int and key = $2::bytea)
       delete from ${s}.reply where scope_id = $1::int and key = $2::bytea`,
    ),
    addOutbox: named(
      'add_outbox',
      `insert into ${s}.outbox
         (scope_id, topic_id, partition, id, topic, record_partition, key, value, headers)
       select w.scope_id, w.topic_id, w.partition, w.id, w.topic, w.record_partition,
         substring($13::bytea from w.key_start for w.key_length),
         substring($13::bytea from w.value_start for w.value_length),
         substring($13::bytea from w.headers_start for w.headers_length)
       from unnest($1::int[], $2::uuid[], $3::int[], $4::uuid[], $5::text[], $6::int[],
           $7::int[], $8::int[], $9::int[], $10::int[], $11::int[], $12::int[])
         with ordinality as w (scope_id, topic_id, partition, id, topic, record_partition,
           key_start, key_length, value_start, value_length, headers_start, headers_length, position)
       order by w.position`,
    ),
    dropOutbox: named('drop_outbox', `delete from ${s}.outbox where id = any ($1::uuid[])`),

    conclude: named('conclude', conclude(moving)),
    concludeShared: named('conclude_shared', conclude(sharing)),
    failAgain: named(
      'fail_again',
      `update ${s}.execution
       set state = $8::smallint, fingerprint = $3::bigint, topic_id = $4::uuid, partition = $5::int,
         record_offset = $6::bigint, attempts = $7::int, finished_at = clock_timestamp()
       where scope_id = $1::int and key = $2::bytea and state = ${STATE_NUMBERS.failed}`,
    ),
    concludeClaimed: named(
      'conclude_claimed',
      `with ${over},
       unclaimed as (
         delete from ${s}.claim where scope_id = $1::int and key = $2::bytea and exists (select 1 from over) returning 1
       )
       update ${s}.execution
       set state = $8::smallint, fingerprint = $3::bigint, topic_id = $4::uuid, partition = $5::int,
         record_offset = $6::bigint, attempts = $7::int, finished_at = clock_timestamp()
       where scope_id = $1::int and key = $2::bytea and state = ${STATE_NUMBERS.claimed} and exists (select 1 from unclaimed)`,
    ),
    addFailure: named(
      'add_failure',
      `insert into ${s}.failure (scope_id, key, error_name, error_message, ended_at)
       select scope_id, key, $3::text, $4::text, finished_at
       from ${s}.execution where scope_id = $1::int and key = $2::bytea
       on conflict (scope_id, key) do update
         set error_name = excluded.error_name, error_message = excluded.error_message, ended_at = excluded.ended_at`,
    ),
    addDeadLetter: named(
      'add_dead_letter',
      `insert into ${s}.dead_letter
         (scope_id, key, topic_id, topic, partition, record_offset, record_timestamp, reason, record_key, record_value, headers)
       values ($1::int, $2::bytea, $3::uuid, $4::text, $5::int, $6::bigint, $7::bigint, $8::text, $9::bytea, $10::bytea, $11::bytea)
       on conflict (scope_id, key) do nothing`,
    ),
    ...createLaneStatements(s, named),
    ...createStepStatements(s, named),
    ...createParkingStatements(s, named),
  };
}

/**
 * The number of a lane's advisory lock, as 64 bits with a sign. Two lanes may have the same by chance: then the one's
 * transactions wait while the other's fence is taken, and nothing worse happens.
 */
export function laneLock(
  schema: string,
  scopeId: number,
  { topicId, partition }: Pick<Lane, 'topicId' | 'partition'>,
): string {
  return String(digest64(`nestjs-durable-kafka/lane/${schema}/${scopeId}/${topicId}/${partition}`));
}

/**
 * A prepared statement's name: unique per schema, and per text, because two versions of this library may share a pool.
 */
export function statementName(schema: string, name: string, text: string): string {
  const digest = hash('sha1', text, 'hex').slice(0, 8);
  const full = `${schema}.${name}.${digest}`;
  if (Buffer.byteLength(full) <= MAX_NAME_BYTES) return full;
  return `${hash('sha1', schema, 'hex').slice(0, 12)}.${name}.${digest}`;
}
