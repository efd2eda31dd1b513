import { escapeIdentifier } from 'pg';
import type { Statement } from './statements.js';

/** Statements for people's questions. Not prepared: they are rare, and planned best with their values in sight. */
export type ReaderStatements = Record<
  'find' | 'list' | 'listUnsuccessful' | 'listClaimed' | 'counts' | 'outboxLag' | 'inWork',
  Statement
>;

/** A time as microseconds since the epoch: whole, and the same whatever the session's time zone and date style are. */
const micros = (expression: string) => `(extract(epoch from ${expression}) * 1000000)::bigint`;

const timeOf = (parameter: string) => `timestamptz 'epoch' + ${parameter}::bigint * interval '1 microsecond'`;

export function createReaderStatements(schema: string): ReaderStatements {
  const s = escapeIdentifier(schema);
  const columns = `c.consumer_group, c.handler, e.scope_id, e.key, e.state, e.attempts, e.topic_id, e.partition,
      e.record_offset, ${micros('e.finished_at')} as finished_at,
      f.error_name, f.error_message, d.reason, l.topic`;
  const joined = `
       left join ${s}.failure f on f.scope_id = e.scope_id and f.key = e.key
       left join ${s}.dead_letter d on d.scope_id = e.scope_id and d.key = e.key
       left join ${s}.fence l on l.scope_id = e.scope_id and l.topic_id = e.topic_id and l.partition = e.partition`;
  const inScope = `($1::text is null or c.consumer_group = $1::text) and ($2::text is null or c.handler = $2::text)`;
  // The page first: what belongs to its executions is looked up for them only. `source` gives them as e, with the time
  // that they are ordered by as t.
  const list = (source: string, t: string): Statement => ({
    text: `select ${columns}
       from (
       select e.scope_id, e.key, e.state, e.attempts, e.topic_id, e.partition, e.record_offset, ${t} as finished_at
       from ${source} join ${s}.scope c on c.id = e.scope_id
       where ${inScope}
         and ($4::bigint is null or ${t} >= ${timeOf('$4')})
         and ($5::bigint is null or ${t} < ${timeOf('$5')})
         and ($6::bigint is null
           or (${t} <= ${timeOf('$6')} and (${t}, e.scope_id, e.key) < (${timeOf('$6')}, $7::int, $8::bytea)))
       order by ${t} desc, e.scope_id desc, e.key desc
       limit $9::int) e
       join ${s}.scope c on c.id = e.scope_id${joined}
       order by e.finished_at desc, e.scope_id desc, e.key desc`,
  });
  const inState = '($3::smallint is null or state = $3::smallint)';
  // Each one looked up by its key, in the order of what points at it. "offset 0" keeps that apart for the planner: it takes
  // what is rare among executions for rare among those pointed at, and would rather read all executions.
  const pointedAt = (table: string) =>
    `${s}.${table} p cross join lateral (
         select * from ${s}.execution where scope_id = p.scope_id and key = p.key and ${inState} offset 0) e`;
  return {
    find: {
      text: `select ${columns}
       from ${s}.scope c join ${s}.execution e on e.scope_id = c.id and e.key = any ($3::bytea[])${joined}
       where ${inScope}
       order by c.consumer_group, c.handler, e.key`,
    },
    list: list(`(select * from ${s}.execution where ${inState}) e`, 'e.finished_at'),
    listUnsuccessful: list(pointedAt('failure'), 'p.ended_at'),
    listClaimed: list(pointedAt('claim'), 'e.finished_at'),
    counts: {
      text: `select c.consumer_group, c.handler, n.state, n.n
       from ${s}.scope c
       join (select scope_id, state, count(*) as n from ${s}.execution group by scope_id, state) n on n.scope_id = c.id
       where ${inScope}
       order by c.consumer_group, c.handler`,
    },
    inWork: {
      text: `select c.consumer_group, c.handler, w.key, w.topic_id, w.partition, w.record_offset, w.instance, w.takeovers,
         w.lease_until > clock_timestamp() as held, ${micros('w.lease_until')} as lease_until,
         ${micros('w.claimed_at')} as claimed_at, l.topic
       from ${s}.claim w
       join ${s}.scope c on c.id = w.scope_id
       left join ${s}.fence l on l.scope_id = w.scope_id and l.topic_id = w.topic_id and l.partition = w.partition
       where ${inScope}
       order by w.claimed_at, w.scope_id, w.key
       limit $3::int`,
    },
    outboxLag: {
      text: `select o.id, o.topic, ${micros('o.created_at')} as created_at, (select count(*) from ${s}.outbox) as records,
         ${micros('clock_timestamp()')} - ${micros('o.created_at')} as age
       from ${s}.outbox o order by o.seq limit 1`,
    },
  };
}
