import type { DeadLetter, Effect, Evidence, LoadRecord, ParkedRecord } from './evidence.js';
import { modeOf, type Behaviour, type HandlerName, type PlannedMessage } from './plan.js';

export type InvariantName = 'I1' | 'I2' | 'I3' | 'I4' | 'I5' | 'I6' | 'I7' | 'I8';

export interface Violation {
  readonly invariant: InvariantName;
  readonly what: string;
}

/** How a request may end whose record the broker may not have: its caller is told so. */
const UNSENT = /^KT_(PRODUCE_FAILED|BROKER_UNREACHABLE):/;

/** The messages of the load, by number. */
export type Messages = ReadonlyMap<number, PlannedMessage>;

type Check = (evidence: Evidence, messages: Messages) => Iterable<string>;

/** What must hold after a run, whatever happened in it. Each says in words what does not. */
export const INVARIANTS: Readonly<Record<InvariantName, Check>> = {
  I1: effectOnce,
  I2: conservation,
  I3: order,
  I4: offsets,
  I5: replies,
  I6: fencing,
  I7: outbox,
  I8: liveness,
};

export function violationsOf(evidence: Evidence, messages: Messages): Violation[] {
  const names = Object.keys(INVARIANTS) as InvariantName[];
  return names.flatMap((invariant) =>
    [...INVARIANTS[invariant](evidence, messages)].map((what) => ({ invariant, what })),
  );
}

/** For each completed key and handler exactly one effect, for each other none; no step again that is recorded. */
function* effectOnce(evidence: Evidence, messages: Messages) {
  const { records, effects, repeatedSteps } = evidence;
  yield* repeatedSteps;
  const left = new Set(effects);
  for (const { handler, identity, group } of executions(records)) {
    const places = new Set(group.map(placeOf));
    const own = effects.filter((effect) => effect.handler === handler && places.has(placeOf(effect)));
    for (const effect of own) left.delete(effect);
    const wanted = fateOf(evidence, messages, handler, group) === 'completed' ? 1 : 0;
    if (own.length === wanted || (own.length === 1 && mayBeLeft(evidence, messages, handler, group)))
      continue;
    const runs = own.map(({ run, ...effect }) => `run ${run} at ${placeOf(effect)}`).join(', ');
    yield `${handler} of ${identity} has ${own.length} effects, not ${wanted}${runs && `: ${runs}`}`;
  }
  for (const { handler, run } of left) yield `run ${run} of ${handler} has an effect without a record`;
}

/** Each record is completed or dead, nothing is unknown; what was parked has come to its end. */
function* conservation(evidence: Evidence, messages: Messages) {
  const { asked, records, effects, dead, letters, lanes } = evidence;
  for (const record of evidence.left) yield `${placeOf(record)} is still parked for ${record.handler}`;
  for (const { handler, topic, partition, nextOffset, end } of lanes) {
    // By key, rows say what is done: the fence follows, and a crash may keep it from that.
    if (asked.ordering === 'partition' ? nextOffset !== end : nextOffset > end) {
      yield `${handler} has come to ${nextOffset} of ${end} in ${topic}[${partition}]`;
    }
  }
  const left = new Set(dead);
  for (const { handler, identity, group } of executions(records)) {
    if (group[0]!.topic === 'requests') continue;
    const places = new Map(group.map((record) => [placeOf(record), record]));
    const isOurs = (letter: DeadLetter) =>
      letter.handler === handler && places.has(placeOf({ topic: 'events', ...letter }));
    const own = dead.filter(isOurs);
    for (const letter of own) left.delete(letter);
    const fate = fateOf(evidence, messages, handler, group);
    const wanted = new Set<string>();
    if (fate === 'dead') wanted.add('given up');
    const winner =
      effects.find((effect) => effect.handler === handler && places.has(placeOf(effect))) ??
      (fate === 'completed' ? undefined : endedOf(evidence, handler, group));
    const isReuse = ({ variant }: { variant: number }) => winner !== undefined && variant !== winner.variant;
    for (const record of group.filter(isReuse)) {
      if (!isSkipped(evidence, handler, record)) wanted.add(`reuse at ${placeOf(record)}`);
    }
    const found = own.map((letter) =>
      isReuse(letter) ? `reuse at ${placeOf({ topic: 'events', ...letter })}` : 'given up',
    );
    if (found.length !== wanted.size || found.some((each) => !wanted.has(each))) {
      yield `${handler} of ${identity} is dead as [${found.join(', ')}], not as [${[...wanted].join(', ')}]`;
    }
    for (const letter of own) {
      const published = letters.some((each) => isOurs(each) && each.offset === letter.offset);
      if (asked.deadLetter && !published)
        yield `the dead letter of ${handler} of ${identity} was not published`;
    }
  }
  for (const { handler, n } of left) yield `${handler} has a dead letter for message ${n} and no record`;
}

/** Effects of a partition, or of a key in it, appear in the order of its offsets. */
function* order({ asked, effects, parked }: Evidence, messages: Messages) {
  if (asked.ordering !== 'partition') return yield* orderIn(effects, messages, true);
  // Records that are parked let others of their partition pass, but none of their keys.
  const names = new Set(parked.map((record) => `${record.handler} ${placeOf(record)}`));
  const inLine = effects.filter((effect) => !names.has(`${effect.handler} ${placeOf(effect)}`));
  yield* orderIn(inLine, messages, false);
  if (asked.parking) yield* orderIn(effects, messages, true);
}

function* orderIn(effects: readonly Effect[], messages: Messages, byKey: boolean) {
  const last = new Map<string, Effect>();
  for (const effect of effects) {
    const { recordKey } = messages.get(effect.n)!;
    if (byKey && recordKey === null) continue;
    const lane = `${effect.handler} ${effect.topic}[${effect.partition}]${byKey ? ` key ${recordKey}` : ''}`;
    const before = last.get(lane);
    if (before && before.offset >= effect.offset) {
      yield `${lane}: offset ${effect.offset} (run ${effect.run}) took effect after ${before.offset} (run ${before.run})`;
    }
    last.set(lane, effect);
  }
}

/** The committed offset never passes a record that is not done, and never goes back. */
function* offsets({ offsetCommits }: Evidence) {
  for (const { topic, partition, before, offset, unfinished } of offsetCommits) {
    if (offset < before) yield `${topic}[${partition}] went back from ${before} to ${offset}`;
    for (const what of unfinished) yield `${topic}[${partition}] was committed at ${offset}: ${what}`;
  }
}

/** Each request settles once, with its own stored reply; repeated ones get the same bytes. */
function* replies({ records, effects, replies, settlements }: Evidence, messages: Messages) {
  const requests = records.filter(({ topic }) => topic === 'requests');
  for (const { identity, group } of executions(requests)) {
    const ids = new Set(group.map(({ correlationId }) => correlationId));
    const own = replies.filter(({ correlationId }) => ids.has(correlationId));
    const contents = new Set(own.map(({ content }) => content));
    if (contents.size > 1)
      yield `${identity} got ${contents.size} different replies: ${[...contents].join(' and ')}`;
    const places = new Set(group.map(placeOf));
    const effect = effects.find((each) => places.has(placeOf(each)));
    for (const { run } of own) {
      if (run !== effect?.run)
        yield `${identity} got the reply of run ${run}, committed was run ${effect?.run}`;
    }
    for (const id of ids) {
      if (!own.some(({ correlationId }) => correlationId === id))
        yield `${identity} has a request without a reply`;
    }
  }
  for (const { n, outcomes } of settlements) {
    if (outcomes.length > 1) yield `a request with message ${n} settled ${outcomes.length} times`;
    const good = messages.get(n)!.behaviour.answer.kind !== 'poison';
    for (const { kind, content } of outcomes) {
      if (kind === 'trouble' && !UNSENT.test(content))
        yield `a request with message ${n} ended in trouble: ${content}`;
      if (kind === (good ? 'error' : 'reply'))
        yield `a request with message ${n} ended as ${kind}: ${content}`;
      if (kind === 'reply' && (JSON.parse(content) as { n: number }).n !== n)
        yield `a request with message ${n} got the reply of another: ${content}`;
    }
  }
}

/** No effect commits in an epoch that was superseded before. */
function* fencing({ fenceMoves }: Evidence) {
  for (const { lane, epoch, epochInForce } of fenceMoves) {
    if (epoch !== epochInForce)
      yield `${lane} was moved in epoch ${epoch}, while ${epochInForce} was in force`;
  }
}

/** What committed runs emitted is produced, each under one id; nothing of others is. */
function* outbox(evidence: Evidence, messages: Messages) {
  const { effects, outputs } = evidence;
  const committed = new Map(effects.map((effect) => [effect.run, effect]));
  const ids = new Map<string, Set<string>>();
  for (const { handler, run, index, messageId } of outputs) {
    if (!committed.has(run))
      yield `run ${run} of ${handler} was undone, but record ${index} of it was produced`;
    const name = `${run}/${index}`;
    ids.set(name, (ids.get(name) ?? new Set()).add(messageId));
  }
  const left = leftEffects(evidence, messages);
  for (const effect of effects) {
    const { handler, run, emits } = effect;
    for (let index = 0; index < emits; index++) {
      const { size } = ids.get(`${run}/${index}`) ?? new Set();
      // What its handler would have emitted at its end.
      if (size === 0 && left.has(effect) && !effect.emitsInStep) continue;
      if (size !== 1)
        yield `record ${index} of run ${run} of ${handler} was produced under ${size} ids, not 1`;
    }
  }
}

/** After the last fault everything comes to its end in bounded time. */
function liveness({ stuck }: Evidence) {
  return stuck;
}

interface ExpectedExecution {
  readonly handler: HandlerName;
  readonly identity: string;
  /** Records that are the same for the ledger. */
  readonly group: readonly LoadRecord[];
}

function* executions(records: readonly LoadRecord[]): Iterable<ExpectedExecution> {
  const groups = new Map<string, LoadRecord[]>();
  for (const record of records) {
    const name = `${record.topic} ${record.identity}`;
    const group = groups.get(name);
    if (group) group.push(record);
    else groups.set(name, [record]);
  }
  for (const group of groups.values()) {
    const [{ topic, identity }] = group as [LoadRecord];
    const handlers: readonly HandlerName[] = topic === 'events' ? ['first', 'second'] : ['answer'];
    for (const handler of handlers) yield { handler, identity, group };
  }
}

/** How an execution is to end: as its handler behaves, or as an operator wanted it, if that came first. */
function fateOf(
  evidence: Evidence,
  messages: Messages,
  handler: HandlerName,
  group: readonly LoadRecord[],
): 'completed' | 'dead' | 'skipped' {
  const { kind }: Behaviour = messages.get(group[0]!.n)!.behaviour[handler];
  const fate = kind === 'poison' || kind === 'terminal' ? 'dead' : 'completed';
  const isOf = isOfGroup(handler, group);
  if (!evidence.ordered.some(isOf)) return fate;
  const { state } = evidence.endings.find(isOf) ?? {};
  return state === 'dead' || state === 'skipped' ? state : fate;
}

/**
 * Under a claim an effect outlives the failure of its handler, and an operator may have the record end before the handler
 * is tried again.
 */
function mayBeLeft(
  evidence: Evidence,
  messages: Messages,
  handler: HandlerName,
  group: readonly LoadRecord[],
): boolean {
  if (modeOf(evidence.asked, handler) !== 'claim') return false;
  const { kind } = messages.get(group[0]!.n)!.behaviour[handler];
  // These fail before they write.
  if (kind === 'poison' || kind === 'terminal') return false;
  return fateOf(evidence, messages, handler, group) !== 'completed';
}

function leftEffects(evidence: Evidence, messages: Messages): Set<Effect> {
  const left = new Set<Effect>();
  for (const { handler, group } of executions(evidence.records)) {
    if (!mayBeLeft(evidence, messages, handler, group)) continue;
    const places = new Set(group.map(placeOf));
    for (const effect of evidence.effects) {
      if (effect.handler === handler && places.has(placeOf(effect))) left.add(effect);
    }
  }
  return left;
}

/** The record under which an execution ended. */
function endedOf({ endings }: Evidence, handler: HandlerName, group: readonly LoadRecord[]) {
  const ending = endings.find(isOfGroup(handler, group));
  return ending && group.find((record) => placeOf(record) === placeOf(ending));
}

/** An operator had it so. */
function isSkipped({ ordered, endings }: Evidence, handler: HandlerName, record: LoadRecord): boolean {
  const isIt = isOfGroup(handler, [record]);
  return ordered.some(isIt) && endings.some((ending) => isIt(ending) && ending.state === 'skipped');
}

function isOfGroup(handler: HandlerName, group: readonly LoadRecord[]) {
  const places = new Set(group.map(placeOf));
  return (record: ParkedRecord) => record.handler === handler && places.has(placeOf(record));
}

function placeOf({ topic, partition, offset }: Pick<LoadRecord, 'topic' | 'partition' | 'offset'>): string {
  return `${topic}[${partition}]@${offset}`;
}
