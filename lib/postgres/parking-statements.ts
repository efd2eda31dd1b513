/** Statements of transactions that park records. Parameters 1 to 3 name the lane: scope, topic id, partition. */
export function createParkingStatements<S>(s: string, named: (name: string, text: string) => S) {
  const inLane = 'scope_id = $1::int and topic_id = $2::uuid and partition = $3::int';
  const inSequence = `${inLane} and sequence = $4::bytea`;
  return {
    findParked: named('find_parked', `select sequence, letters from ${s}.parked_head where ${inLane}`),

    // $5: sequences that the scope may have. Says whether there is one already, or no room for it.
    parkHead: named(
      'park_head',
      `with known as (select 1 from ${s}.parked_head where ${inSequence}),
       crowded as (
         select 1 where not exists (select 1 from known)
           and (select count(*) from ${s}.parked_head where scope_id = $1::int) >= $5::int
       ),
       parked as (
         insert into ${s}.parked_head (scope_id, topic_id, partition, sequence, letters, topic, failures, first_failed_at,
           error_name, error_message, due_at)
         select $1::int, $2::uuid, $3::int, $4::bytea, 0, $6::text, $7::int,
           clock_timestamp() - $8::bigint * interval '1 millisecond', $9::text, $10::text,
           clock_timestamp() + $11::bigint * interval '1 millisecond'
         where not exists (select 1 from crowded)
         on conflict (scope_id, topic_id, partition, sequence) do nothing
       )
       select (select count(*) from crowded)::int as crowded`,
    ),
    // In a statement of its own: those that follow see what it waited for. Sorted: who adds to several could deadlock.
    lockParked: named(
      'lock_parked',
      `select 1 from ${s}.parked_head where ${inLane} and sequence = any ($4::bytea[]) order by sequence for update`,
    ),
    addLetters: named(
      'add_letters',
      `with added as (
         insert into ${s}.parked_letter
           (scope_id, topic_id, partition, sequence, record_offset, record_timestamp, record_key, record_value, headers)
         select $1::int, $2::uuid, $3::int,
           (select sequence from ${s}.parked_head h where ${inLane} and h.sequence = w.sequence),
           w.record_offset, w.record_timestamp, substring($13::bytea from w.key_start for w.key_length),
           substring($13::bytea from w.value_start for w.value_length),
           substring($13::bytea from w.headers_start for w.headers_length)
         from unnest($4::bytea[], $5::bigint[], $6::bigint[], $7::int[], $8::int[], $9::int[], $10::int[], $11::int[],
           $12::int[]) as w (sequence, record_offset, record_timestamp, key_start, key_length, value_start, value_length,
           headers_start, headers_length)
         on conflict (scope_id, topic_id, partition, sequence, record_offset) do nothing
         returning sequence
       )
       update ${s}.parked_head h set letters = h.letters + added.n
       from (select sequence, count(*)::int as n from added group by sequence) added
       where ${inLane} and h.sequence = added.sequence`,
    ),
    // The next letter comes with no history, and at once.
    removeLetter: named(
      'remove_letter',
      `with gone as (delete from ${s}.parked_letter where ${inSequence} and record_offset = $5::bigint returning 1)
       update ${s}.parked_head
       set letters = letters - 1, failures = 0, retries = 0, first_failed_at = null, error_name = null,
         error_message = null, held = false, due_at = clock_timestamp()
       where ${inSequence} and exists (select 1 from gone)`,
    ),
    endSequence: named('end_sequence', `delete from ${s}.parked_head where ${inSequence} and letters = 0`),
  };
}
