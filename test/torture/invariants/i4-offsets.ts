import type { Facts, TopicRecord, Violation } from '../oracle/facts.js';
import { handlers, handlersOf } from '../work.js';
import { grouped, isHostile, keyLane, lane, Outcomes, parkedKeys } from './lookup.js';

/** The broker's clock has milliseconds, the database's microseconds. */
const CLOCK = 2;

/** I4: a committed offset never passes an unfinished record, and never goes back within a generation of the group. */
export function* offsets(facts: Facts): Generator<Violation> {
  const invariant = 'I4';
  const last = new Map<string, { offset: bigint; generation: number }>();
  for (const commit of facts.commits) {
    const before = last.get(lane(commit));
    // Between two memberships anybody may set offsets, and a topic that was made anew begins again.
    const isNew = commit.topic === facts.topics.volatile && commit.offset === 0n;
    if (before?.generation === commit.generation && commit.offset < before.offset && !isNew) {
      yield {
        invariant,
        what: `${lane(commit)} went back from ${before.offset} to ${commit.offset} within generation ${commit.generation}`,
      };
    }
    last.set(lane(commit), commit);
  }
  const commits = grouped(facts.commits, lane);
  const endOf = ends(facts);
  const lasting = facts.records.filter(({ topic }) => topic !== facts.topics.volatile);
  for (const [name, records] of grouped(lasting, lane)) {
    records.sort((a, b) => Number(a.offset - b.offset));
    const sorted = [...(commits.get(name) ?? [])].sort((a, b) => a.at - b.at);
    // An offset that passes a record passes all before it: the first such commit is the one that counts.
    let next = 0;
    for (const record of records) {
      while (next < sorted.length && sorted[next]!.offset <= record.offset) next++;
      const commit = sorted[next];
      if (!commit) break;
      const end = endOf(record);
      if (end <= commit.at + CLOCK) continue;
      const late =
        end === Infinity ? 'which never ended' : `which ended ${(end - commit.at).toFixed(1)} ms later`;
      yield {
        invariant,
        id: record.id,
        what: `offset ${commit.offset} of ${name} was committed past ${record.offset}, ${late}`,
      };
    }
  }
}

/** When a record was done with, by the clock of the database; infinity if it is not. */
function ends(facts: Facts): (record: TopicRecord) => number {
  const outcomes = new Outcomes(facts);
  const parked = parkedKeys(facts);
  const failed = new Map(
    facts.executions
      .filter(({ state }) => state === 'failed')
      .map(({ handler, key, finishedAt }) => [`${handler} ${key}`, finishedAt]),
  );
  const endIn = (handler: string, record: TopicRecord): number => {
    const times = [
      ...outcomes.effectsOf(handler, record.id).map(({ committedAt }) => committedAt),
      ...outcomes.deathsAt(handler, record).map(({ diedAt }) => diedAt),
      ...outcomes.deathsOf(handler, record.id).map(({ diedAt }) => diedAt),
      failed.get(`${handler} ${record.headers['idempotency-key'] ?? ''}`) ?? Infinity,
    ];
    return Math.min(...times);
  };
  return (record) => {
    // What became of it is told by I2; when, by nothing that is sure.
    if (isHostile(record)) return 0;
    const mayBeParked = parked.has(keyLane(record));
    const all = handlersOf(record.topic, facts.topics);
    const waitedFor = mayBeParked ? all.filter((handler) => handler !== handlers.event) : all;
    return Math.max(...waitedFor.map((handler) => endIn(handler, record)));
  };
}
