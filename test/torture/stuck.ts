import type { Ground } from './ground/ground.js';

const SHOWN = 40;

/** What there is to be seen of a run in which nothing moves: offsets, fences, memberships, open work, the processes. */
export async function describeStuck(ground: Ground): Promise<string> {
  const parts = [
    ...(await Promise.all([
      section('offsets', () => offsets(ground)),
      section('members', () => members(ground)),
      section('fences', () => rows(ground, 'select * from ledger.fences order by handler, topic, partition')),
      section('executions by state', () =>
        rows(ground, 'select handler, state, count(*) from ledger.executions group by 1, 2 order by 1, 2'),
      ),
      section('outbox', () =>
        rows(ground, 'select handler, topic, created_at, id from ledger.undispatched order by seq'),
      ),
      section('parked', () => parked(ground)),
      section('connections', () =>
        rows(
          ground,
          `select pid, state, wait_event_type, wait_event, clock_timestamp() - xact_start as open, left(query, 120) as query
           from pg_stat_activity where usename = '${ground.database.name}'`,
        ),
      ),
    ])),
    ...(await Promise.all(
      ground.fleet.running.map(async (instance) => {
        const report = await instance.report();
        const lines = [
          report ? `counters ${JSON.stringify(report.counters)}` : 'it does not answer',
          report ? `waiting for ${report.stacks}` : '',
          await instance.lastLines(10),
        ];
        return `${instance.describe()}\n${lines.filter(Boolean).join('\n')}`;
      }),
    )),
  ];
  return parts.join('\n\n');
}

async function section(title: string, read: () => Promise<string[]>): Promise<string> {
  const lines = await read().catch((error: Error) => [`could not be read: ${error.message}`]);
  const more = lines.length > SHOWN ? [`and ${lines.length - SHOWN} more`] : [];
  return [`${title}:`, ...(lines.length > 0 ? lines.slice(0, SHOWN) : ['none']), ...more].join('\n  ');
}

async function rows({ pool }: Ground, sql: string): Promise<string[]> {
  const { rows: found } = await pool.query<Record<string, unknown>>(sql);
  return found.map((row) =>
    JSON.stringify(row, (_name, value: unknown) => (typeof value === 'bigint' ? String(value) : value)),
  );
}

/** In schemas that have the tables for it. */
async function parked(ground: Ground): Promise<string[]> {
  const { rows: tables } = await ground.pool.query<{ name: string }>(
    `select table_name as name from information_schema.tables where table_schema = 'ledger' and table_name like 'parked%'`,
  );
  const found = await Promise.all(tables.map(({ name }) => rows(ground, `select * from ledger.${name}`)));
  return found.flat();
}

async function offsets({ admin, groupId, topics }: Ground): Promise<string[]> {
  const lines: string[] = [];
  for (const topic of [topics.events, topics.requests, topics.volatile]) {
    const [answer] = await admin.fetchOffsets({ groupId, topics: [topic] });
    for (const { partition, low, high } of await admin.fetchTopicOffsets(topic)) {
      const committed = answer?.partitions.find((each) => each.partition === partition)?.offset ?? '-1';
      if (committed !== high)
        lines.push(`${topic}[${partition}] committed ${committed} of ${low} to ${high}`);
    }
  }
  return lines;
}

async function members({ admin, groupId }: Ground): Promise<string[]> {
  const { groups } = await admin.describeGroups([groupId]);
  return groups.flatMap(({ state, members: all }) => [
    `the group is ${state}`,
    ...all.map(({ clientId, memberId }) => `${clientId} ${memberId}`),
  ]);
}
