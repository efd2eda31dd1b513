import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Message } from 'kafkajs';
import type { Dice } from '../dice.js';
import type { Options } from '../options.js';
import type { Failure, Work } from '../work.js';
import type { Ground } from './ground.js';
import type { Instance } from './instance.js';
import { LoadProducer } from './load-producer.js';

const KEYS = 97;
const BATCH = 50;
/** Share of the messages that are there before anything else happens. */
const BACKLOG = 0.1;
const REQUESTS = 0.15;
/** Of the requests, those that a process of the service makes through the library's client. */
const CALLED = 0.5;
const DUPLICATES = 0.08;
/** Of the events, those that carry an idempotency key; the others are known by their position. */
const KEYED = 0.5;
const LAGGARDS = 200;

interface Draft {
  readonly work: Work;
  readonly idempotencyKey: string | undefined;
  /** Where it went: with partitions added, later ones of its key go elsewhere. */
  readonly partition: number;
}

/** Produces messages whose number, order and outcome are known. */
export class Load {
  /** Different messages so far, those of `volatile` left out. */
  produced = 0;
  requests = 0;
  duplicates = 0;
  private readonly producer: LoadProducer;
  private readonly sequences = new Map<string, number>();
  private readonly recent: Draft[] = [];
  private going = true;

  constructor(
    private readonly ground: Ground,
    private readonly options: Options,
    private readonly dice: Dice,
    private readonly onCall: (instance: string, id: string, tail: boolean) => void,
  ) {
    this.producer = new LoadProducer(ground.kafka, ground.admin);
  }

  async connect(): Promise<void> {
    await this.producer.connect();
  }

  async disconnect(): Promise<void> {
    this.going = false;
    await this.producer.disconnect();
  }

  /** Spreads the messages over the duration. Resolves when all are in their topics. */
  async run(): Promise<void> {
    const { messages, duration } = this.options;
    const backlog = Math.ceil(messages * BACKLOG);
    const began = performance.now();
    while (this.produced < messages && this.going) {
      const share = (performance.now() - began) / (duration * 1_000);
      const due = Math.min(messages, backlog + Math.floor((messages - backlog) * share));
      const count = Math.min(BATCH, due - this.produced);
      if (count > 0) await this.batch(count);
      else await sleep(50);
    }
  }

  /** An event of a hostile kind, straight to its partition. */
  async produceRaw(topic: string, message: Message): Promise<void> {
    await this.producer.send(new Map([[topic, [message]]]));
  }

  /** A keyed event that was produced before. */
  recentEvent(dice: Dice): Draft | undefined {
    return this.recent.length > 0 ? dice.pick(this.recent) : undefined;
  }

  /** The message again, in one partition or another. */
  async repeat({ work, idempotencyKey }: Draft, partition: number): Promise<void> {
    await this.producer.send(
      new Map([[this.ground.topics.events, [message(work, idempotencyKey, partition)]]]),
    );
    this.duplicates++;
  }

  async produceVolatile(wave: number, count: number): Promise<void> {
    const works = Array.from({ length: count }, () => this.work('volatile', { wave }));
    const messages = works.map((work, n) => message(work, undefined, n % 2));
    await this.producer.send(new Map([[this.ground.topics.volatile, messages]]));
  }

  /** A request through the library's client in one of the processes. Resolves nothing: the process tells how it ends. */
  call(caller: Instance, tail = false): string {
    const work = this.work('call');
    this.onCall(caller.name, work.id, tail);
    caller.order({ order: 'request', work, idempotencyKey: this.dice.uuid() });
    return work.id;
  }

  private async batch(count: number): Promise<void> {
    const { topics, fleet } = this.ground;
    const { dice } = this;
    const events: Message[] = [];
    const requests: Message[] = [];
    for (let n = 0; n < count; n++) {
      if (dice.chance(REQUESTS)) {
        const { idle } = fleet;
        if (dice.chance(CALLED) && idle.length > 0) this.call(dice.pick(idle));
        else requests.push(...this.request());
        this.requests++;
      } else {
        events.push(...this.event());
      }
      this.produced++;
    }
    await this.producer.send(
      new Map([
        [topics.events, events],
        [topics.requests, requests],
      ]),
    );
  }

  private event(): Message[] {
    const { dice } = this;
    const work = this.work('event', { failure: this.failure() });
    const idempotencyKey = dice.chance(KEYED) ? dice.uuid() : undefined;
    const partition = partitionOf(work.key, this.ground.partitions);
    const messages = [message(work, idempotencyKey, partition)];
    if (idempotencyKey !== undefined) {
      if (work.failure === undefined) this.remember({ work, idempotencyKey, partition });
      if (dice.chance(DUPLICATES)) {
        messages.push(messages[0]!);
        this.duplicates++;
      }
    }
    return messages;
  }

  private request(): Message[] {
    const { dice } = this;
    const work = this.work('request', { failure: this.failure() === undefined ? undefined : 'dead' });
    const idempotencyKey = dice.uuid();
    const partition = partitionOf(work.key, this.ground.requestPartitions);
    const once = () => {
      const plain = message(work, idempotencyKey, partition);
      const address = {
        kafka_correlationId: randomUUID(),
        kafka_replyTopic: this.ground.replyTopic,
        kafka_replyPartition: '0',
      };
      return { ...plain, headers: { ...plain.headers, ...address } };
    };
    if (!dice.chance(DUPLICATES) || work.failure !== undefined) return [once()];
    this.duplicates++;
    return [once(), once()];
  }

  private work(kind: string, more: Partial<Work> = {}): Work {
    const { dice } = this;
    const key = `key-${dice.between(1, KEYS)}`;
    const seq = (this.sequences.get(key) ?? 0) + 1;
    this.sequences.set(key, seq);
    // Mostly quick; a few take their time.
    const millis = dice.chance(0.05) ? dice.between(5, 40) : dice.between(0, 2);
    return { id: `${kind}-${dice.uuid()}`, key, seq, millis, ...more };
  }

  private failure(): Failure | undefined {
    const { dice, options } = this;
    if (!dice.chance(options.failing / 100)) return undefined;
    const failure = dice.pick(['retry', 'retry', 'dead', 'terminal'] as const);
    return failure === 'dead' && options.parking ? 'sick' : failure;
  }

  private remember(draft: Draft): void {
    this.recent.push(draft);
    if (this.recent.length > LAGGARDS) this.recent.shift();
  }
}

function message(work: Work, idempotencyKey: string | undefined, partition: number): Message {
  const headers = idempotencyKey === undefined ? {} : { 'idempotency-key': idempotencyKey };
  return { key: work.key, value: JSON.stringify(work), partition, headers };
}

function partitionOf(key: string, partitions: number): number {
  return Number(key.slice('key-'.length)) % partitions;
}
