/** Statements of the journal of steps. `s` is the quoted schema. */
export function createStepStatements<S>(s: string, named: (name: string, text: string) => S) {
  return {
    findSteps: named(
      'find_steps',
      `select position, name, result from ${s}.step where scope_id = $1::int and key = $2::bytea order by position`,
    ),
    // Results come as one run of bytes with their bounds, as replies do.
    addSteps: named(
      'add_steps',
      `insert into ${s}.step (scope_id, key, position, name, result)
       select w.scope_id, w.key, w.position, w.name, substring($7::bytea from w.start for w.length)
       from unnest($1::int[], $2::bytea[], $3::int[], $4::text[], $5::int[], $6::int[])
         as w (scope_id, key, position, name, start, length)
       on conflict (scope_id, key, position) do nothing`,
    ),
    // Null where the claim is somebody else's by now: the constraint refuses it, and with it the whole transaction. The
    // lock has a take-over wait for the end of this transaction, so that it sees the step.
    addHeldStep: named(
      'add_held_step',
      `insert into ${s}.step (scope_id, key, position, name, result)
       select $1::int, $2::bytea, $3::int, $4::text, (
         select $5::bytea from ${s}.claim where scope_id = $1::int and key = $2::bytea and owner = $6::uuid for share)
       on conflict (scope_id, key, position) do nothing`,
    ),
  };
}
