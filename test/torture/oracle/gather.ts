import { readFile } from 'node:fs/promises';
import type { KafkaMessage } from 'kafkajs';
import { CONCURRENCY, type Ground, GROUP_RECORDS, POOL_SIZE } from '../ground/ground.js';
import type { Witness } from '../ground/witness.js';
import type { Options } from '../options.js';
import type { LogLine } from '../service/service-settings.js';
import { type HandlerName, positionOf, readWork, type Work } from '../work.js';
import { OFFSETS_TOPIC, readCoordinatorLog } from './coordinator-log.js';
import type { DeadLetter, Effect, Facts, Fence, InstanceFacts, LedgerRow, TopicRecord } from './facts.js';
import { type RawRecord, readRecords } from './record-reader.js';

/** Connections beside those of the pool: the lock that tells that the process lives, one that is being made. */
const SPARE_CONNECTIONS = 3;
/** They run side by side. */
const HANDLERS_OF_A_RECORD = 2;
const MOST_MEMORY = 768 * 1024 * 1024;
/** A frozen process holds its transaction until a successor ends it; a group itself takes less than a second. */
const LONGEST_TRANSACTION = 30_000;

/** Reads everything that the invariants are judged by, when nothing is under way any more. */
export async function gather(
  ground: Ground,
  options: Options,
  witness: Witness,
  end: Facts['end'],
): Promise<Facts> {
  const { topics, kafka, admin, replyTopic, groupId, fleet } = ground;
  const instances: InstanceFacts[] = [];
  for (const { name, running, disturbed, report } of fleet.instances.map((instance) => ({
    name: instance.name,
    running: instance.running,
    disturbed: instance.disturbed,
    report: instance.running ? instance.report() : undefined,
  }))) {
    instances.push({ name, running, disturbed, counters: (await report)?.counters });
  }
  const raw = await readRecords(kafka, admin, [
    ...[topics.events, topics.requests, topics.volatile, topics.out],
    replyTopic,
  ]);
  const records = raw.map(toRecord);
  const of = (...names: string[]) => records.filter(({ topic }) => names.includes(topic));
  const offsets = await readRecords(kafka, admin, [OFFSETS_TOPIC]);
  return {
    topics,
    mode: options.mode,
    ordering: options.ordering,
    parking: options.parking,
    limits: {
      connections: POOL_SIZE + SPARE_CONNECTIONS,
      running: CONCURRENCY * HANDLERS_OF_A_RECORD * (options.concurrent ? GROUP_RECORDS : 1),
      memory: MOST_MEMORY,
      transaction: LONGEST_TRANSACTION,
    },
    lastWave: ground.wave,
    records: of(topics.events, topics.requests, topics.volatile),
    out: of(topics.out),
    replies: of(replyTopic),
    effects: await readEffects(ground),
    executions: await readExecutions(ground),
    fences: await readFences(ground),
    deadLetters: await readDeadLetters(ground),
    ...readCoordinatorLog(offsets, groupId),
    log: await readLogs(ground),
    calls: witness.calls,
    settlements: witness.settlements,
    samples: witness.samples,
    instances,
    end,
  };
}

function toRecord({ topic, partition, message }: RawRecord): TopicRecord {
  const value = message.value?.toString('utf8') ?? null;
  const offset = BigInt(message.offset);
  const work = parse(value);
  const id = work?.id ?? positionOf(topic, partition, offset);
  const key = message.key?.toString('utf8') ?? null;
  return { topic, partition, offset, key, value, work, id, headers: textual(message.headers) };
}

function parse(value: string | null): Work | undefined {
  try {
    return readWork(JSON.parse(value ?? ''));
  } catch {
    return undefined;
  }
}

function textual(headers: KafkaMessage['headers'] = {}): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [
      name,
      String(Array.isArray(value) ? value.at(-1) : value),
    ]),
  );
}

interface EffectRow {
  handler: HandlerName;
  id: string;
  run: string;
  key: string;
  record_key: string | null;
  instance: string;
  topic: string;
  wave: number;
  partition: number;
  record_offset: string;
  committed_at: string;
}

async function readEffects({ pool }: Ground): Promise<Effect[]> {
  const { rows: setting } = await pool.query<{ on: string }>(
    `select current_setting('track_commit_timestamp') as on`,
  );
  // Where the server does not keep these, the instant of the insert has to do.
  const at = setting[0]!.on === 'on' ? 'pg_xact_commit_timestamp(xmin)' : 'at';
  const { rows } = await pool.query<EffectRow>(
    `select handler, id, run, key, record_key, instance, topic, wave, partition, record_offset,
       extract(epoch from ${at}) * 1000 as committed_at
     from effect order by ${at}, seq`,
  );
  return rows.map(({ record_offset: offset, record_key: recordKey, committed_at: committedAt, ...row }) => ({
    ...row,
    recordKey,
    offset: BigInt(offset),
    committedAt: Number(committedAt),
  }));
}

async function readExecutions({ pool }: Ground): Promise<LedgerRow[]> {
  const { rows } = await pool.query<{
    handler: string;
    key: string;
    state: LedgerRow['state'];
    attempts: number;
    partition: number;
    record_offset: string;
    finished_at: string;
  }>(
    `select handler, key, state, attempts, partition, record_offset,
       extract(epoch from finished_at) * 1000 as finished_at
     from ledger.executions`,
  );
  return rows.map(({ record_offset: offset, finished_at: finishedAt, ...row }) => ({
    ...row,
    offset: BigInt(offset),
    finishedAt: Number(finishedAt),
  }));
}

export async function readFences({ pool }: Ground): Promise<Fence[]> {
  const { rows } = await pool.query<{
    handler: string;
    topic: string;
    partition: number;
    next_offset: string;
    epoch: string;
    owner: string;
    taken_at: string;
  }>(
    `select handler, topic, partition, next_offset, epoch, owner, extract(epoch from taken_at) * 1000 as taken_at
     from ledger.fences`,
  );
  return rows.map(({ next_offset: nextOffset, epoch, taken_at: takenAt, ...row }) => ({
    ...row,
    nextOffset: BigInt(nextOffset),
    epoch: BigInt(epoch),
    takenAt: Number(takenAt),
  }));
}

async function readDeadLetters({ pool }: Ground): Promise<DeadLetter[]> {
  const { rows } = await pool.query<{
    handler: string;
    reason: string;
    topic: string;
    partition: number;
    record_offset: string;
    record_value: Buffer | null;
    died_at: string;
  }>(
    `select handler, reason, topic, partition, record_offset, record_value,
       extract(epoch from died_at) * 1000 as died_at
     from ledger.dead_letters`,
  );
  return rows.map(({ handler, reason, topic, partition, record_offset, record_value, died_at }) => ({
    ...{ handler, reason, topic, partition },
    offset: BigInt(record_offset),
    value: record_value?.toString('utf8') ?? null,
    diedAt: Number(died_at),
  }));
}

/** The execution logs of all processes, in the order of time. */
export async function readLogs(ground: Ground): Promise<Facts['log']> {
  const lines: (LogLine & { instance: string })[] = [];
  for (const { name: instance } of ground.fleet.instances) {
    const text = await readFile(ground.executionLog(instance), 'utf8').catch(() => '');
    for (const line of text.split('\n')) {
      // The last line of a process that was killed may be cut off.
      if (line.endsWith('}')) lines.push({ ...(JSON.parse(line) as LogLine), instance });
    }
  }
  return lines.sort((a, b) => a.at - b.at);
}
