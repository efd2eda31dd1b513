import kafkajs from 'kafkajs';
import type { Ground } from './ground/ground.js';
import type { Instance } from './ground/instance.js';
import type { Facts, Fence } from './oracle/facts.js';
import { readFences, readLogs } from './oracle/gather.js';

const SHOWN = 40;
const LAST_LINES = 10;

/**
 * What there is to be seen of a run in which nothing moves, from what is behind to who has it and what they are at:
 * offsets with their owners, runs of handlers, fences, claims, the outbox, parked rows, connections, the processes.
 */
export async function describeStuck(ground: Ground): Promise<string> {
  const { fleet } = ground;
  const parts = await Promise.all([
    section('partitions with a lag', () => behind(ground)),
    section('members of the group', () => members(ground)),
    section('runs under way, the oldest first', async () =>
      runsUnderWay(
        await readLogs(ground),
        fleet.running.map(({ name }) => name),
        Date.now(),
      ),
    ),
    section('fences', () => fences(ground)),
    section('executions by state', () =>
      rows(ground, 'select handler, state, count(*) from ledger.executions group by 1, 2 order by 1, 2'),
    ),
    section('failures that are tried again', () =>
      rows(
        ground,
        'select handler, topic, partition, record_offset, failures, error_name, error_message, last_failed_at from ledger.retries',
      ),
    ),
    section('claims', () =>
      rows(
        ground,
        'select handler, key, instance, held, lease_until, takeovers, topic, partition, record_offset from ledger.claims',
      ),
    ),
    section('outbox', () =>
      rows(ground, 'select handler, topic, created_at, id from ledger.undispatched order by seq'),
    ),
    section('parked sequences', () => rows(ground, 'select * from ledger.parked_sequences')),
    section('parked letters', () => rows(ground, 'select * from ledger.parked_letters')),
    section('connections of the service, those with the oldest transaction first', () =>
      rows(
        ground,
        `select pid, state, concat_ws(' ', wait_event_type, wait_event) as waits_for,
           pg_blocking_pids(pid) as blocked_by, age(clock_timestamp(), xact_start)::text as open_for,
           regexp_replace(left(query, 90), '\\s+', ' ', 'g') as last_query
         from pg_stat_activity where usename = '${ground.database.name}' order by xact_start nulls last`,
      ),
    ),
    ...fleet.running.map(describeProcess),
  ]);
  return parts.join('\n\n');
}

/** Of processes that run: a handler that never comes back is among these, and so is what waits for it. */
export function runsUnderWay(log: Facts['log'], running: readonly string[], now: number): string[] {
  const ended = new Set(log.filter(({ what }) => what !== 'start').map(({ run }) => run));
  return log
    .filter(({ what, run, instance }) => what === 'start' && !ended.has(run) && running.includes(instance))
    .sort((a, b) => a.at - b.at)
    .map(
      ({ at, handler, run, id, attempt, topic, partition, offset, instance }) =>
        `${instance} for ${((now - at) / 1_000).toFixed(1)} s: ${handler}, attempt ${attempt} of ${id}, ` +
        `${topic}[${partition}] offset ${offset}, run ${run}`,
    );
}

async function describeProcess(instance: Instance): Promise<string> {
  const report = await instance.report();
  const said = await instance.lastLines(LAST_LINES);
  const state = report
    ? [
        `counters ${JSON.stringify(report.counters)}`,
        `its event loop is free, and waits for ${report.waitsFor}`,
      ]
    : [
        'it does not answer: its event loop is blocked, or it is stopped. Where it stands:',
        ...(await instance.stack()).map((line) => `  ${line}`),
      ];
  return indented(`${instance.describe()}, process ${instance.pid}`, [
    ...state,
    `its last words (all of them in ${instance.name}.log):`,
    ...said.split('\n').map((line) => `  ${line}`),
  ]);
}

async function section(title: string, read: () => Promise<string[]>): Promise<string> {
  const lines = await read().catch((error: Error) => [`could not be read: ${error.message}`]);
  const more = lines.length > SHOWN ? [`and ${lines.length - SHOWN} more`] : [];
  return indented(`${title}:`, [...(lines.length > 0 ? lines.slice(0, SHOWN) : ['none']), ...more]);
}

function indented(title: string, lines: readonly string[]): string {
  return [title, ...lines].join('\n  ');
}

/** A line each: names and values, without what is not set. */
async function rows({ pool }: Ground, sql: string): Promise<string[]> {
  const { rows: found } = await pool.query<Record<string, unknown>>(sql);
  return found.map((row) =>
    Object.entries(row)
      .filter(([, value]) => value !== null && !(Array.isArray(value) && value.length === 0))
      .map(([name, value]) => `${name}=${textOf(value)}`)
      .join(' '),
  );
}

function textOf(value: unknown): string {
  if (value instanceof Date) return value.toISOString();
  if (Buffer.isBuffer(value)) return `${value.length} bytes`;
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** An owner is named host/pid/start: whose it is says more. */
async function fences(ground: Ground): Promise<string[]> {
  const place = ({ topic, partition, handler }: Fence) => `${topic}[${partition}] ${handler}`;
  const all = (await readFences(ground)).sort((a, b) => place(a).localeCompare(place(b)));
  return all.map((fence) => {
    const { owner, nextOffset, epoch, takenAt } = fence;
    const process = ground.fleet.instances.find(({ pid }) => owner.includes(`/${pid}/`));
    const whose = process ? process.describe() : 'nobody of this run';
    const taken = `taken ${new Date(takenAt).toISOString()} by ${owner} (${whose})`;
    return `${place(fence)}: next offset ${nextOffset}, epoch ${epoch}, ${taken}`;
  });
}

interface Member {
  readonly clientId: string;
  readonly memberId: string;
  readonly partitions: readonly string[];
}

async function group({ admin, groupId }: Ground): Promise<{ state: string; members: Member[] }> {
  const { groups } = await admin.describeGroups([groupId]);
  const { state, members: all } = groups[0]!;
  return {
    state,
    members: all.map(({ clientId, memberId, memberAssignment }) => {
      const assigned = kafkajs.AssignerProtocol.MemberAssignment.decode(memberAssignment)?.assignment ?? {};
      const partitions = Object.entries(assigned).flatMap(([topic, numbers]) =>
        numbers.map((partition) => `${topic}[${partition}]`),
      );
      return { clientId, memberId, partitions };
    }),
  };
}

async function behind(ground: Ground): Promise<string[]> {
  const { admin, groupId, topics } = ground;
  const { members: all } = await group(ground);
  const lines: string[] = [];
  for (const topic of [topics.events, topics.requests, topics.volatile]) {
    const [answer] = await admin.fetchOffsets({ groupId, topics: [topic] });
    const ends = await admin.fetchTopicOffsets(topic);
    for (const { partition, low, high } of ends.sort((a, b) => a.partition - b.partition)) {
      const committed = answer?.partitions.find((each) => each.partition === partition)?.offset ?? '-1';
      if (committed === high || (low === high && committed === '-1')) continue;
      const name = `${topic}[${partition}]`;
      const owner = all.find(({ partitions }) => partitions.includes(name))?.clientId ?? 'nobody';
      lines.push(`${name} holds ${low} to ${high}, committed ${committed}, assigned to ${owner}`);
    }
  }
  return lines;
}

async function members(ground: Ground): Promise<string[]> {
  const { state, members: all } = await group(ground);
  return [
    `${ground.groupId} is ${state}`,
    ...all.map(({ clientId, memberId, partitions }) => `${clientId} as ${memberId}: ${partitions.join(' ')}`),
  ];
}
