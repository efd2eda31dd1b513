import type { InMemoryKafka, InMemoryLedgerStore, StoredCommit } from 'nestjs-durable-kafka/testing';
import type { KafkaRecord } from '../../lib/messages/record.js';
import type {
  DeadLetter,
  Effect,
  Ending,
  Evidence,
  FenceMove,
  LaneState,
  LoadRecord,
  OffsetCommit,
  Output,
  ParkedRecord,
  Reply,
} from './evidence.js';
import type { HandlerName, Plan, Topic } from './plan.js';
import { GROUP } from './service.js';
import type { Trace } from './trace.js';

export const TOPICS: readonly Topic[] = ['events', 'requests'];
export const HANDLERS: Readonly<Record<Topic, readonly HandlerName[]>> = {
  events: ['first', 'second'],
  requests: ['answer'],
};

/** Sees what the broker and the store hold, as an outsider would, while it happens and at the end. */
export class Observer {
  private readonly fenceMoves: FenceMove[] = [];
  private readonly offsetCommits: OffsetCommit[] = [];
  private readonly committed = new Map<string, number>();
  /** Requests that were answered by an error: a new one under their key may take their row over. */
  private readonly failed = new Set<string>();
  /** Records that were parked, by name. */
  private readonly parked = new Map<string, ParkedRecord>();
  private offsetsChanged = false;

  /** @param nameOf the process that a ledger belongs to. */
  constructor(
    private readonly plan: Plan,
    private readonly kafka: InMemoryKafka,
    private readonly store: InMemoryLedgerStore,
    private readonly trace: Trace,
    private readonly nameOf: (owner: string) => string,
  ) {
    // Asked about each, to refuse none.
    kafka.faults.failCommit((group) => {
      if (group === GROUP) this.offsetsChanged = true;
      return false;
    });
    kafka.faults.failProduce(({ topic, headers }) => {
      if (topic !== 'events') trace.add('broker', `gets a record for ${topic}${subject(headers)}`);
      return false;
    });
    store.whenCommitted((commit) => this.onCommit(commit));
  }

  /** After each step: looks at what is parked, and at what the group has committed, if that has changed. */
  look(): void {
    if (this.plan.parking) this.lookAtParked();
    if (!this.offsetsChanged) return;
    this.offsetsChanged = false;
    for (const topic of TOPICS) {
      for (const { partition, offset } of this.kafka.committed(GROUP, topic)) {
        this.onOffset(topic, partition, Math.max(0, Number(offset)));
      }
    }
  }

  /** The group's offsets were set back from outside. */
  forgetOffsets(): void {
    this.committed.clear();
  }

  /** Nothing of the load is left to be done. */
  get isDone(): boolean {
    for (const topic of TOPICS) {
      const ends = this.ends(topic);
      for (const { partition, offset } of this.kafka.committed(GROUP, topic)) {
        if (Number(offset) !== (ends.get(partition) ?? 0) && ends.has(partition)) return false;
      }
    }
    if (this.store.parked.size > 0) return false;
    if (this.store.outbox.size === 0) return true;
    const produced = new Set(
      ['out', 'events.dlt', 'requests.dlt'].flatMap((topic) =>
        this.kafka.records(topic).map((record) => text(record, 'message-id')),
      ),
    );
    return [...this.store.outbox.values()].every(
      ({ record: { id, headers } }) => produced.has(id) || headers.some(([name]) => name.startsWith('dlt-')),
    );
  }

  evidence({
    settlements,
    repeatedSteps,
    ordered,
    stuck,
  }: Pick<Evidence, 'settlements' | 'repeatedSteps' | 'ordered' | 'stuck'>): Evidence {
    return {
      asked: this.plan,
      repeatedSteps,
      records: TOPICS.flatMap((topic) => this.kafka.records(topic).map((record) => loadRecord(record))),
      effects: this.effects(),
      outputs: this.outputs(),
      replies: this.kafka.records('requests.reply').map(reply),
      dead: [...this.store.deadLetters.values()].map(({ lane, value, offset, reason }) => ({
        handler: lane.scope.handler as HandlerName,
        ...content(value),
        partition: lane.partition,
        offset: Number(offset),
        reason,
      })),
      letters: this.kafka.records('events.dlt').map(letter),
      settlements,
      lanes: this.lanes(),
      parked: [...this.parked.values()],
      left: [...this.parkedNow().values()],
      ordered,
      endings: this.endings(),
      offsetCommits: this.offsetCommits,
      fenceMoves: this.fenceMoves,
      stuck,
    };
  }

  private onCommit({ owner, fences, rows, executions, outbox }: StoredCommit): void {
    const moves = fences.map(({ lane, epoch, epochInForce, nextOffset }) => {
      const name = `${lane.scope.handler} ${lane.topic}[${lane.partition}]`;
      this.fenceMoves.push({ lane: name, epoch, epochInForce });
      return `${name} to ${nextOffset} in epoch ${epoch}`;
    });
    const runs = rows.map(({ row }) => (row as Effect).run);
    for (const { scope, state, partition, offset } of executions) {
      if (state === 'failed') this.failed.add(`${scope.handler} ${partition}/${offset}`);
    }
    const ended = executions.filter(({ state }) => state !== 'completed').map(({ state }) => state);
    const parts = [
      ...(moves.length > 0 ? [`moves ${moves.join(', ')}`] : []),
      ...(runs.length > 0 ? [`keeps runs ${runs.join(', ')}`] : []),
      ...(ended.length > 0 ? [`ends one as ${ended.join(', ')}`] : []),
      ...(outbox.length > 0 ? [`leaves ${outbox.length} for the outbox`] : []),
    ];
    this.trace.add('store', `${this.nameOf(owner)} commits: ${parts.join('; ')}`);
  }

  private endings(): Ending[] {
    return [...this.store.executions.values()].flatMap(({ scope, state, partition, offset }) => {
      if (state === 'claimed') return [];
      const handler = scope.handler as HandlerName;
      const topic = handler === 'answer' ? 'requests' : 'events';
      return { handler, topic, partition, offset: Number(offset), state };
    });
  }

  private lookAtParked(): void {
    for (const [name, record] of this.parkedNow()) {
      if (this.parked.has(name)) continue;
      this.parked.set(name, record);
      this.trace.add('store', `has ${name} parked`);
    }
  }

  private parkedNow(): Map<string, ParkedRecord> {
    const now = new Map<string, ParkedRecord>();
    for (const { lane, letters } of this.store.parked.values()) {
      const { topic, partition, scope } = lane;
      for (const letter of letters.keys()) {
        const offset = Number(letter);
        const record = { handler: scope.handler as HandlerName, topic: topic as Topic, partition, offset };
        now.set(parkedName(record), record);
      }
    }
    return now;
  }

  private onOffset(topic: Topic, partition: number, offset: number): void {
    const name = `${topic}[${partition}]`;
    const before = this.committed.get(name) ?? 0;
    if (offset === before) return;
    this.committed.set(name, offset);
    this.offsetCommits.push({
      topic,
      partition,
      before,
      offset,
      unfinished: this.unfinished(topic, partition, before, offset),
    });
    this.trace.add('broker', `group commits ${name} at ${offset}`);
  }

  /** What is between two offsets and not done: handled, answered, and its outbox produced. */
  private unfinished(topic: Topic, partition: number, from: number, to: number): string[] {
    const isBetween = (each: number) => each >= from && each < to;
    const unfinished: string[] = [];
    for (const lane of this.lanes()) {
      if (lane.topic !== topic || lane.partition !== partition || lane.nextOffset >= to) continue;
      if (this.plan.ordering !== 'partition') unfinished.push(...this.undone(lane, isBetween));
      else if (lane.end > from) unfinished.push(`${lane.handler} has come to ${lane.nextOffset} only`);
    }
    if (topic === 'requests') {
      const replied = new Set(this.kafka.records('requests.reply').map((each) => text(each, CORRELATION_ID)));
      for (const record of this.kafka.records(topic)) {
        if (record.partition !== partition || !isBetween(Number(record.offset))) continue;
        if (!replied.has(text(record, CORRELATION_ID))) unfinished.push(`${record.offset} is not answered`);
      }
    }
    const produced = new Set(this.outputs().map(({ run, index }) => `${run}/${index}`));
    for (const effect of this.effects()) {
      if (effect.topic !== topic || effect.partition !== partition || !isBetween(effect.offset)) continue;
      // Of a parked record the offset was let go before.
      if (effect.emitsInStep || this.parked.has(parkedName(effect))) continue;
      for (let index = 0; index < effect.emits; index++) {
        if (!produced.has(`${effect.run}/${index}`))
          unfinished.push(`record ${index} that run ${effect.run} emitted is not produced`);
      }
    }
    return unfinished;
  }

  /** Records of a lane that neither its fence nor a row nor a dead letter says are done. */
  private undone({ handler, topic, partition, nextOffset }: LaneState, isAsked: (offset: number) => boolean) {
    const records = this.kafka.records(topic).map((record) => loadRecord(record));
    const done = new Set<string>();
    for (const { scope, state, partition: place, offset } of this.store.executions.values()) {
      if (scope.handler !== handler || state === 'claimed') continue;
      const of = records.find((each) => each.partition === place && each.offset === Number(offset));
      if (of) done.add(`${of.identity}/${of.variant}`);
    }
    const dead = new Set(
      [...this.store.deadLetters.values()]
        .filter(({ lane }) => lane.scope.handler === handler && lane.partition === partition)
        .map(({ offset }) => Number(offset)),
    );
    const parked = this.parkedNow();
    return records.flatMap(({ partition: place, offset, identity, variant }) => {
      if (place !== partition || offset < nextOffset || !isAsked(offset)) return [];
      const isFailed = this.failed.has(`${handler} ${place}/${offset}`);
      const isParked = parked.has(parkedName({ handler, topic, partition, offset }));
      return isFailed || isParked || dead.has(offset) || done.has(`${identity}/${variant}`)
        ? []
        : `${offset} is not done in ${handler}`;
    });
  }

  private lanes(): LaneState[] {
    const fences = new Map(
      [...this.store.fences.values()].map(({ lane, nextOffset }) => [
        `${lane.scope.handler} ${lane.topic}[${lane.partition}]`,
        Number(nextOffset),
      ]),
    );
    return TOPICS.flatMap((topic) =>
      [...this.ends(topic)].flatMap(([partition, end]) =>
        HANDLERS[topic].map((handler) => {
          const nextOffset = fences.get(`${handler} ${topic}[${partition}]`) ?? 0;
          return { handler, topic, partition, nextOffset, end };
        }),
      ),
    );
  }

  private ends(topic: Topic): Map<number, number> {
    const ends = new Map<number, number>();
    for (const { partition, offset } of this.kafka.records(topic)) ends.set(partition, Number(offset) + 1);
    return ends;
  }

  private effects(): Effect[] {
    return this.store.rowsOf('effect') as Effect[];
  }

  private outputs(): Output[] {
    return this.kafka.records('out').map((record) => ({
      ...(JSON.parse(record.value!.toString()) as Omit<Output, 'messageId'>),
      messageId: text(record, 'message-id') ?? '',
    }));
  }
}

function parkedName({ handler, topic, partition, offset }: ParkedRecord): string {
  return `${topic}[${partition}]@${offset} of ${handler}`;
}

const CORRELATION_ID = 'kafka_correlationId';

function loadRecord(record: KafkaRecord): LoadRecord {
  const { topic, partition, offset, value } = record;
  const key = text(record, 'idempotency-key');
  const id = text(record, 'message-id');
  const place = `${topic}[${partition}]@${offset}`;
  return {
    topic: topic as Topic,
    partition,
    offset: Number(offset),
    ...content(value),
    identity: key !== undefined ? `key ${key}` : id !== undefined ? `id ${id}` : `place ${place}`,
    correlationId: text(record, CORRELATION_ID),
  };
}

function reply(record: KafkaRecord): Reply {
  const value = record.value?.toString() ?? '';
  const headers = record.headers.filter(([name]) => name !== CORRELATION_ID);
  const { run } = value.startsWith('{') ? (JSON.parse(value) as { run?: number }) : {};
  return {
    correlationId: text(record, CORRELATION_ID) ?? '',
    content: `${value} ${headers.map(([name, each]) => `${name}=${each?.toString('latin1')}`).join(' ')}`,
    run,
  };
}

function letter(record: KafkaRecord): DeadLetter {
  return {
    handler: text(record, 'dlt-handler') as HandlerName,
    ...content(record.value),
    partition: Number(text(record, 'dlt-original-partition')),
    offset: Number(text(record, 'dlt-original-offset')),
    reason: text(record, 'dlt-reason') ?? '',
  };
}

function content(value: Buffer | null): { n: number; variant: number } {
  return JSON.parse(value!.toString()) as { n: number; variant: number };
}

function text({ headers }: Pick<KafkaRecord, 'headers'>, name: string): string | undefined {
  return headers.find(([other]) => other === name)?.[1]?.toString();
}

function subject(headers: KafkaRecord['headers']): string {
  const correlationId = text({ headers }, CORRELATION_ID);
  const place = text({ headers }, 'dlt-original-offset');
  const handler = text({ headers }, 'dlt-handler');
  if (handler) return ` about ${handler} at offset ${place}`;
  return correlationId ? ` with correlation id …${correlationId.slice(-6)}` : '';
}
