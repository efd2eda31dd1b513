import type { Facts } from './facts.js';

const MOST_LINES = 60;

interface Event {
  readonly at: number;
  readonly text: string;
}

/**
 * Everything that is known of a message, in the order of time: where it was produced, run, committed, answered, passed.
 * Topics without the prefix that all of a run have.
 */
export function historyOf(facts: Facts, id: string): string[] {
  const records = facts.records.filter((record) => record.id === id);
  const own = facts.log.filter((line) => line.id === id);
  const runs = new Set(own.map(({ run }) => run));
  const keys = new Set([
    ...own.map(({ key }) => key),
    ...records.flatMap(({ headers }) => headers['idempotency-key'] ?? []),
  ]);
  const places = records.map(
    (record) => `record    ${at(record)} record key ${record.key} headers ${JSON.stringify(record.headers)}`,
  );
  const events: Event[] = [
    ...own.map((line) => ({
      at: line.at,
      text:
        `${line.what.padEnd(5)}     ${line.handler} run ${line.run} in ${line.instance}` +
        (line.what === 'start' ? `, attempt ${line.attempt} of ${at(line)} under key ${line.key}` : ''),
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
      .filter(({ key }) => keys.has(key))
      .map((row) => ({
        at: row.finishedAt,
        text: `ledger    ${row.handler} ${row.state} after ${row.attempts} attempts, by offset ${row.offset} of partition ${row.partition}`,
      })),
    ...facts.fences
      .filter((fence) => records.some((record) => isLaneOf(fence, record)))
      .map((fence) => ({
        at: fence.takenAt,
        text: `fence     ${fence.handler} in ${lane(fence)} taken for the last time, epoch ${fence.epoch}, by ${fence.owner}; at the end its next offset is ${fence.nextOffset}`,
      })),
  ];
  events.sort((a, b) => a.at - b.at);
  const produced = [...facts.out, ...facts.replies]
    .filter(({ value }) => value?.includes(id) || [...runs].some((run) => value?.includes(run)))
    .map(
      ({ topic, partition, offset, value, headers }) =>
        `produced  ${at({ topic, partition, offset })}: ${value} message-id ${headers['message-id'] ?? '-'}`,
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

const lane = ({ topic, partition }: Pick<Place, 'topic' | 'partition'>): string =>
  `${topic.slice(topic.indexOf('.') + 1)}[${partition}]`;

const at = (place: Omit<Place, 'offset'> & { readonly offset: bigint | string }): string =>
  `${lane(place)} offset ${place.offset}`;

const isLaneOf = (fence: Pick<Place, 'topic' | 'partition'>, { topic, partition }: Place): boolean =>
  fence.topic === topic && fence.partition === partition;

const same = (a: Place, b: Place): boolean =>
  a.topic === b.topic && a.partition === b.partition && a.offset === b.offset;

/** The commits by which an offset passed a record: each time that it did so from below. */
function passing(facts: Facts, { topic, partition, offset }: Place): Event[] {
  const commits = facts.commits.filter((commit) => commit.topic === topic && commit.partition === partition);
  return commits
    .filter((commit, n) => commit.offset > offset && (n === 0 || commits[n - 1]!.offset <= offset))
    .map((commit) => ({
      at: commit.at,
      text: `passed    by offset ${commit.offset} of ${lane({ topic, partition })} in generation ${commit.generation}`,
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
      text: `owner     of ${lane({ topic, partition })} is ${who} from generation ${generation}`,
    }));
}
