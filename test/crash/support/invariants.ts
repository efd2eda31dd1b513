import type { CrashWorld } from './crash-world.js';
import { readTopics, type ReadRecord } from './topic-reader.js';

interface Effect {
  readonly id: string;
  readonly nonce: string;
  readonly topic: string;
  readonly partition: number;
  readonly offset: string;
}

interface Facts {
  readonly effects: readonly Effect[];
  readonly byId: ReadonlyMap<string, readonly Effect[]>;
  readonly committed: ReadonlyMap<string, ReadonlyMap<number, bigint>>;
  readonly events: readonly ReadRecord[];
  readonly requests: readonly ReadRecord[];
  readonly out: readonly ReadRecord[];
  readonly replies: readonly ReadRecord[];
}

const SHOWN = 20;

/**
 * What is wrong with the world, counted by SQL and from the topics: the invariants I1 to I5 and I7 of the architecture.
 * Empty if all hold. In mid-work only what must hold at every moment is looked at; `settled` asks for completeness too.
 */
export async function violations(world: CrashWorld, when: 'mid-work' | 'settled'): Promise<string[]> {
  const facts = await gather(world);
  const found = [
    ...effectsOnce(facts),
    ...order(facts, world.ordering),
    ...offsets(facts),
    ...replies(facts),
    ...outbox(facts),
  ];
  if (when === 'settled') found.push(...completeness(facts), ...(await ledgerState(world)));
  return found.length > SHOWN ? [...found.slice(0, SHOWN), `and ${found.length - SHOWN} more`] : found;
}

/**
 * In this order: what an offset or a record that was read first asks for must be in what is read later, also while
 * services go on.
 */
async function gather(world: CrashWorld): Promise<Facts> {
  const { topics } = world;
  const committed = new Map<string, Map<number, bigint>>();
  for (const topic of [topics.events, topics.requests]) committed.set(topic, await world.committed(topic));
  const records = await readTopics(world.kafka, Object.values(topics));
  const effects = await world.query<Effect & { offset: string }>(
    'select id, nonce, topic, partition, record_offset as offset from {effects}.effect order by seq',
  );
  const byId = new Map<string, Effect[]>();
  for (const effect of effects) byId.set(effect.id, [...(byId.get(effect.id) ?? []), effect]);
  const of = (topic: string) => records.filter((record) => record.topic === topic);
  return {
    effects,
    byId,
    committed,
    events: of(topics.events),
    requests: of(topics.requests),
    out: of(topics.out),
    replies: of(topics.replies),
  };
}

/** I1: one effect per message at most, and none that nobody asked for. */
function* effectsOnce({ byId, events, requests }: Facts) {
  const ids = new Set([...events, ...requests].map(idOf));
  for (const [id, effects] of byId) {
    if (effects.length > 1) yield `I1: ${effects.length} effects of ${id}`;
    if (!ids.has(id)) yield `I1: an effect of ${id}, which was never produced`;
  }
}

/** I3: effects of a partition, or of a key in it, are in the order of its offsets. */
function* order({ effects, events, requests }: Facts, ordering: CrashWorld['ordering']) {
  const records = ordering === 'key' ? [...events, ...requests] : [];
  const keys = new Map(records.map((record) => [placeOf(record), record.key]));
  const last = new Map<string, bigint>();
  for (const effect of effects) {
    const { topic, partition, offset, id } = effect;
    const key = keys.get(placeOf({ ...effect, offset: BigInt(offset) }));
    const lane = `${topic}[${partition}]${key === undefined ? '' : ` key ${key}`}`;
    const before = last.get(lane) ?? -1n;
    if (BigInt(offset) <= before) yield `I3: ${id} at ${lane} offset ${offset} after offset ${before}`;
    last.set(lane, BigInt(offset));
  }
}

/** I4: below a committed offset everything is done: effect, emitted record, reply. */
function* offsets(facts: Facts) {
  const { committed, byId, events, requests } = facts;
  const emitted = new Set(facts.out.map(nonceOf));
  const answered = new Set(facts.replies.map(correlationOf));
  for (const record of [...events, ...requests]) {
    const { topic, partition, offset } = record;
    if (offset >= (committed.get(topic)?.get(partition) ?? 0n)) continue;
    const where = `${topic}[${partition}] offset ${offset}`;
    const effect = byId.get(idOf(record))?.[0];
    if (!effect) yield `I4: ${where} is committed, its effect is missing`;
    else if (events.includes(record) && !emitted.has(effect.nonce))
      yield `I4: ${where} is committed, what it emitted is missing`;
    else if (requests.includes(record) && !answered.has(correlationOf(record)))
      yield `I4: ${where} is committed, its reply is missing`;
  }
}

/** I5: each reply is that of the run whose effect is there, in the same bytes every time. */
function* replies({ byId, requests, replies: all }: Facts) {
  const idByCorrelation = new Map(requests.map((record) => [correlationOf(record), idOf(record)]));
  const bytes = new Map<string, string>();
  for (const reply of all) {
    const id = idByCorrelation.get(correlationOf(reply));
    if (id === undefined) {
      yield `I5: a reply to nobody's request`;
      continue;
    }
    if (reply.headers['kafka_nest-err'] !== undefined) yield `I5: ${id} was answered with an error`;
    else if (nonceOf(reply) !== byId.get(id)?.[0]?.nonce)
      yield `I5: ${id} was answered by a run without effect`;
    if (bytes.has(id) && bytes.get(id) !== reply.value) yield `I5: ${id} was answered in two ways`;
    bytes.set(id, reply.value);
  }
}

/** I7: emitted records come from runs whose effect is there, under one message id each. */
function* outbox({ byId, out }: Facts) {
  const idByNonce = new Map<string, string>();
  for (const record of out) {
    const nonce = nonceOf(record);
    const messageId = record.headers['message-id'] ?? '';
    if (byId.get(idOf(record))?.[0]?.nonce !== nonce)
      yield `I7: ${idOf(record)} emitted by a run without effect`;
    if (!messageId) yield `I7: ${idOf(record)} emitted without a message id`;
    if ((idByNonce.get(nonce) ?? messageId) !== messageId)
      yield `I7: ${idOf(record)} emitted under two message ids`;
    idByNonce.set(nonce, messageId);
  }
  if (new Set(idByNonce.values()).size !== idByNonce.size) yield 'I7: two runs emitted under one message id';
}

/** I2 and the other halves of I5 and I7, once there is nothing left to do. */
function* completeness({ byId, events, requests, out, replies: all }: Facts) {
  for (const id of new Set([...events, ...requests].map(idOf))) {
    if (!byId.has(id)) yield `I2: no effect of ${id}`;
  }
  const emitted = new Set(out.map(idOf));
  for (const id of new Set(events.map(idOf))) {
    if (!emitted.has(id)) yield `I7: what ${id} emitted is missing`;
  }
  const answered = new Set(all.map(correlationOf));
  for (const request of requests) {
    if (!answered.has(correlationOf(request))) yield `I5: no reply to ${idOf(request)}`;
  }
}

/** I2 in the ledger: nothing but completed executions. */
async function ledgerState(world: CrashWorld): Promise<string[]> {
  const rows = await world.query<{ state: string; n: number }>(
    `select state, count(*)::int as n from {ledger}.executions where state <> 'completed' group by state
     union all select 'dead letter', count(*)::int from {ledger}.dead_letters having count(*) > 0`,
  );
  return rows.map(({ state, n }) => `I2: ${n} × ${state} in the ledger`);
}

const placeOf = ({ topic, partition, offset }: Pick<ReadRecord, 'topic' | 'partition' | 'offset'>): string =>
  `${topic}[${partition}]/${offset}`;
const idOf = ({ value }: ReadRecord): string => (JSON.parse(value) as { id: string }).id;
const nonceOf = ({ value }: ReadRecord): string => (JSON.parse(value) as { nonce: string }).nonce;
const correlationOf = ({ headers }: ReadRecord): string => headers['kafka_correlationId'] ?? '';
