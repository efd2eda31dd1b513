import { AT_ONCE, STATE_NUMBERS } from './stored-values.js';

const position = 'scope_id = $1::int and topic_id = $2::uuid and partition = $3::int';

/**
 * What a lane's owner begins with: one row if the lane is his. `s` is the quoted schema; $1 to $3 are the lane, $4 is the
 * epoch, $5 is where the fence goes.
 */
export function fenceConditions(s: string) {
  return {
    // Taken alone, this is the end of a zombie: no row comes back once somebody else has the epoch. An update that waited
    // for a row sees its newest version (READ COMMITTED), so a fence taken meanwhile is noticed.
    moving: `update ${s}.fence
      set previous_offset = next_offset, next_offset = greatest(next_offset, $5::bigint)
      where ${position} and epoch = $4::bigint
      returning 1`,

    // In a lane that is shared: a lock, taken by a statement before, keeps the epoch from changing until the end of the
    // transaction. $5 is null there.
    sharing: `select 1 from ${s}.fence where ${position} and epoch = $4::bigint and $5::bigint is null`,
  };
}

/**
 * Statements by which groups take hold of their lane and its keys. All answer with `held`, `claimed` and `keys`. Keys
 * ($6) arrive sorted: two transactions that claim the same keys in opposite orders would deadlock.
 */
export function createLaneStatements<S>(s: string, named: (name: string, text: string) => S) {
  const { moving, sharing } = fenceConditions(s);

  const insertClaimed = `insert into ${s}.execution
      (scope_id, key, state, fingerprint, topic_id, partition, record_offset, finished_at)
    select $1::int, w.key, ${STATE_NUMBERS.completed}, w.fingerprint, $2::uuid, $3::int, w.record_offset, ${AT_ONCE}
    from unnest($6::bytea[], $7::bigint[], $8::bigint[]) as w (key, fingerprint, record_offset)
    where exists (select 1 from held)`;

  // All or none. A key that gets its row from a twin meanwhile, which is waited for, fails the transaction with 23505.
  const claimNew = (holding: string) =>
    `with held as (${holding}),
       known as (select 1 from ${s}.execution where scope_id = $1::int and key = any ($6::bytea[]) limit 1),
       claimed as (${insertClaimed} and not exists (select 1 from known))
       select count(*)::int as held,
         case when exists (select 1 from known) then 0 else cardinality($6::bytea[]) end as claimed, '' as keys,
         current_setting('synchronous_commit') as synchronous_commit
       from held`;

  // `on conflict` inserts speculatively, and logs of each row that it stays: an eighth of what a record writes. The keys
  // are only sent back if some were not inserted.
  const claim = (holding: string) =>
    `with held as (${holding}),
       claimed as (${insertClaimed} on conflict (scope_id, key) do nothing returning key),
       counted as (select count(*)::int as n from claimed)
       select (select count(*) from held)::int as held, n as claimed,
         case when n < cardinality($6::bytea[]) then (select string_agg(encode(key, 'hex'), ',') from claimed) end as keys,
         current_setting('synchronous_commit') as synchronous_commit
       from counted`;

  return {
    moveFence: named(
      'move_fence',
      `with held as (${moving})
       select (select count(*) from held)::int as held, 0 as claimed, null::text as keys,
         current_setting('synchronous_commit') as synchronous_commit`,
    ),
    claimNew: named('claim_new', claimNew(moving)),
    claimNewShared: named('claim_new_shared', claimNew(sharing)),
    claim: named('claim', claim(moving)),
    claimShared: named('claim_shared', claim(sharing)),
  };
}
