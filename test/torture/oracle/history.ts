import type { Facts } from './facts.js';

const MOST_LINES = 60;

interface Event {
  readonly at: number;
  readonly text: string;
}

/** Everything that is known of a message, in the order of time: where it was produced, run, committed, answered, passed. */
export function historyOf(facts: Facts, id: string): string[] {
  const records = facts.records.filter((record) => record.id === id);
  const runs = new Set(facts.log.filter((line) => line.id === id).map(({ run }) => run));
  const places = records.map(
    (record) =>
      `record    ${record.topic}[${record.partition}] offset ${record.offset} key ${record.key} headers ${JSON.stringify(record.headers)}`,
  );
  const events: Event[] = [
    ...facts.log
      .filter((line) => line.id === id)
      .map((line) => ({
        at: line.at,
        text: `${line.what.padEnd(5)}     ${line.handler} run ${line.run} attempt ${line.attempt} in ${line.instance}, key ${line.key}, offset ${line.offset} of ${line.topic}[${line.partition}]`,
      })),
    ...facts.effects
      .filter((effect) => effect.id === id)
      .map(({ committedAt, handler, run, instance }) => ({
        at: committedAt,
        text: `effect    ${handler} run ${run} in ${instance}`,
      })),
    ...records.flatMap((record) => passing(facts, record)),
    ...records.flatMap((record) => ownership(facts, record)),
    ...facts.deadLetters
      .filter((letter) => records.some((record) => same(record, letter)))
      .map((letter) => ({ at: letter.diedAt, text: `dead      ${letter.handler}: ${letter.reason}` })),
    ...facts.executions
      .filter((row) => records.some((record) => row.key === record.headers['idempotency-key']))
      .map((row) => ({
        at: row.finishedAt,
        text: `ledger    ${row.handler} ${row.state}, attempts ${row.attempts}, offset ${row.offset} of partition ${row.partition}`,
      })),
  ];
  events.sort((a, b) => a.at - b.at);
  const produced = [...facts.out, ...facts.replies]
    .filter(({ value }) => value?.includes(id) || [...runs].some((run) => value?.includes(run)))
    .map(
      ({ topic, partition, offset, value, headers }) =>
        `produced  ${topic}[${partition}] offset ${offset}: ${value} message-id ${headers['message-id'] ?? '-'}`,
    );
  const settled = facts.settlements
    .filter((settlement) => settlement.id === id)
    .map(({ instance, value, error }) => `settled   in ${instance}: ${error ?? JSON.stringify(value)}`);
  const lines = [
    ...places,
    ...events.map(({ at, text }) => `${new Date(at).toISOString().slice(11)} ${text}`),
    ...produced,
    ...settled,
  ];
  return lines.length > MOST_LINES
    ? [...lines.slice(0, MOST_LINES), `and ${lines.length - MOST_LINES} more`]
    : lines;
}

interface Place {
  readonly topic: string;
  readonly partition: number;
  readonly offset: bigint;
}

const same = (a: Place, b: Place): boolean =>
  a.topic === b.topic && a.partition === b.partition && a.offset === b.offset;

/** The commits by which an offset passed a record: each time that it did so from below. */
function passing(facts: Facts, { topic, partition, offset }: Place): Event[] {
  const commits = facts.commits.filter((commit) => commit.topic === topic && commit.partition === partition);
  return commits
    .filter((commit, n) => commit.offset > offset && (n === 0 || commits[n - 1]!.offset <= offset))
    .map((commit) => ({
      at: commit.at,
      text: `passed    by offset ${commit.offset} of ${topic}[${partition}] in generation ${commit.generation}`,
    }));
}

/** Who the partition was given to, each time that it changed hands. */
function ownership(facts: Facts, { topic, partition }: Place): Event[] {
  const name = `${topic}/${partition}`;
  const owners = facts.generations.map(({ at, generation, owned }) => ({
    at,
    generation,
    who: [...owned].find(([, partitions]) => partitions.has(name))?.[0] ?? 'nobody',
  }));
  return owners
    .filter(({ who }, n) => who !== owners[n - 1]?.who)
    .map(({ at, generation, who }) => ({
      at,
      text: `owner     of ${topic}[${partition}] is ${who} from generation ${generation}`,
    }));
}
