import { Scheduler } from './scheduler.js';

/** What a handler does with a message: it fails in its first runs, or always. */
export type Behaviour =
  | { readonly kind: 'good' }
  /** Throws in the first `runs` runs, after it has written. */
  | { readonly kind: 'flaky'; readonly runs: number }
  /** In the first `runs` runs a statement fails, and the handler goes on as if nothing had happened. */
  | { readonly kind: 'swallows'; readonly runs: number }
  /** Throws always. */
  | { readonly kind: 'poison' }
  /** Throws until what it cannot do without is mended, see `PlannedParking`. */
  | { readonly kind: 'sick' }
  /** Throws, once and for all. */
  | { readonly kind: 'terminal' };

/** How handlers run: `mixed` has the first and the requests' in a transaction, and the second under a claim. */
export type Mode = 'transaction' | 'claim' | 'mixed';

/** Of the records of a partition; `mixed` is by key in every other instance. */
export type Ordering = 'partition' | 'key' | 'mixed';

/** How a record says which message it is. */
export type KeyKind = 'header' | 'message-id' | 'position';

/** Record keys, which order is by: few, so that several messages share one. */
const RECORD_KEYS = ['a', 'b', 'c', null] as const;

export interface PlannedRecord {
  /** From this step of the scheduler on it is produced. */
  readonly step: number;
  readonly partition: number;
  /** Its content: another one under the same key is a reuse of the key. */
  readonly variant: number;
}

export interface PlannedMessage {
  /** Also what it holds. */
  readonly n: number;
  readonly topic: Topic;
  readonly key: KeyKind;
  /** Of its records; `null` for none. */
  readonly recordKey: (typeof RECORD_KEYS)[number];
  /** More than one are repetitions. */
  readonly records: readonly PlannedRecord[];
  /** By handler. */
  readonly behaviour: Readonly<Record<HandlerName, Behaviour>>;
  /** Virtual milliseconds that handlers take. */
  readonly work: number;
  /** Records that the first handler emits. */
  readonly emits: number;
  /** Steps that handlers record before and after they write. */
  readonly steps: number;
  /** What is emitted is so in the step that writes, rather than by the handler. */
  readonly emitsInStep: boolean;
}

export type Topic = 'events' | 'requests';

export type HandlerName = 'first' | 'second' | 'answer';

export type PlannedFault = { readonly step: number } & (
  | { readonly kind: 'crash' | 'stop'; readonly instance: number; readonly restartAfter: number }
  | { readonly kind: 'freeze'; readonly instance: number; readonly lasts: number }
  | { readonly kind: 'cut'; readonly instance: number }
  | { readonly kind: 'lose-commit-answer'; readonly instance: number; readonly stored: boolean }
  | { readonly kind: 'slow-process'; readonly instance: number; readonly lasts: number; readonly by: number }
  | { readonly kind: 'expel'; readonly member: number }
  | { readonly kind: 'elect'; readonly topic: Topic }
  | { readonly kind: 'broker-pause' | 'store-down'; readonly lasts: number }
  | { readonly kind: 'slow-store'; readonly lasts: number; readonly by: number }
  | { readonly kind: 'fail-produce' | 'fail-offset-commit'; readonly count: number; readonly stored: boolean }
);

/** Events that fail for good are parked, and so are later ones of their keys. */
export interface PlannedParking {
  /** Milliseconds from one try to the next. */
  readonly retryAfter: number;
  /** Tries after which a sequence is held for an operator. */
  readonly attempts: number;
  readonly maxSequences: number;
  readonly maxLetters: number;
  /** From this step of the scheduler on handlers are well that were sick. */
  readonly mendedAt: number;
  /** What an operator does meanwhile. */
  readonly orders: readonly PlannedOrder[];
}

/** An operator has a sequence tried at once, or its head, or all of it, end without its handler. */
export interface PlannedOrder {
  readonly step: number;
  readonly what: 'retry' | 'skip' | 'drop' | 'drop-all';
  /** Which of those that are parked by then. */
  readonly sequence: number;
}

export type FaultKind = PlannedFault['kind'];

/** Everything about a run that is not a choice of the scheduler. */
export interface Plan {
  readonly seed: number;
  readonly tick: number;
  readonly instances: number;
  /** Of `events` and of `requests`. */
  readonly partitions: number;
  readonly groupSize: number;
  readonly groupMillis: number;
  readonly mode: Mode;
  /** Milliseconds after which a claim may be taken over. */
  readonly lease: number;
  readonly ordering: Ordering;
  /** Where order is by key: keys of a group are handled at once. */
  readonly concurrent: boolean;
  readonly concurrency: number;
  readonly attempts: number;
  /** Dead records are published, too. */
  readonly deadLetter: boolean;
  /** What follows the last attempt; without it the record is dead. */
  readonly parking: PlannedParking | undefined;
  readonly sessionTimeout: number;
  readonly commitInterval: number;
  /** Instances look at each other, and have the dead taken out of the group. */
  readonly fastFailover: boolean;
  /** Milliseconds by which the wall clocks of instances are wrong. */
  readonly skew: readonly number[];
  readonly messages: readonly PlannedMessage[];
  readonly faults: readonly PlannedFault[];
  /** Messages of an even number write a row that all of them share, whatever partition they are in. */
  readonly sharesRow: boolean;
  /** At the end the group's offsets are set back to the beginning. */
  readonly rewind: boolean;
}

const MAX_INSTANCES = 4;
/** Most runs of a handler that fail before it succeeds. */
const FAILING_RUNS = 2;
/** Steps of the scheduler over which load and faults are spread. */
const SPAN = 800;
const EVENT_TROUBLE = ['flaky', 'flaky', 'swallows', 'poison', 'terminal'] as const;
const REQUEST_TROUBLE = ['flaky', 'poison'] as const;

/** Draws a plan. The same seed gives the same plan. */
export function planOf(seed: number): Plan {
  // Of its own: what the scheduler draws later must not depend on what is drawn here.
  const dice = new Scheduler({ seed: Math.imul(seed, 0x9e3779b1) ^ 0x51ed270b, tick: 0 });
  const among = <T>(...choices: readonly T[]): T => choices[dice.pick(choices.length)]!;
  const chance = (probability: number) => dice.random() < probability;
  const instances = 2 + dice.pick(MAX_INSTANCES - 1);
  const partitions = 1 + dice.pick(3);
  const span = among(SPAN / 4, SPAN / 2, SPAN);
  // Messages come one by one or many at once: only the latter share groups.
  const bursts = among(undefined, undefined, 1, 3);
  const moment = () => (bursts === undefined ? dice.pick(span) : dice.pick(bursts) * (span / bursts));
  const messages = Array.from({ length: 4 + dice.pick(20) }, (_, n) =>
    message(n, moment, partitions, dice, chance),
  );
  const faults = Array.from({ length: dice.pick(9) }, () => fault(dice.pick(span), instances, dice, chance));
  const parking: PlannedParking | undefined = chance(0.4)
    ? {
        retryAfter: among(20, 500, 5_000),
        attempts: among(1, 3, 1_000),
        maxSequences: among(1, 3, 10_000),
        maxLetters: among(1, 2, 1_000),
        mendedAt: dice.pick(2 * span),
        orders: Array.from({ length: dice.pick(4) }, () => ({
          step: dice.pick(2 * span),
          what: among('retry', 'skip', 'drop', 'drop-all'),
          sequence: dice.pick(8),
        })),
      }
    : undefined;
  return {
    seed,
    tick: among(0, 0.05, 0.5),
    instances,
    partitions,
    groupSize: among(1, 2, 64),
    groupMillis: among(2, 10, 50),
    concurrency: among(1, 2, 8),
    mode: among('transaction', 'transaction', 'claim', 'mixed'),
    lease: among(1_000, 5_000, 30_000),
    ordering: among('partition', 'partition', 'key', 'key', 'mixed'),
    concurrent: chance(0.5),
    attempts: FAILING_RUNS + 1 + dice.pick(3),
    deadLetter: chance(0.8),
    sessionTimeout: among(4_000, 10_000),
    commitInterval: among(50, 200, 1_000, 5_000),
    skew: Array.from({ length: MAX_INSTANCES }, () => (chance(0.1) ? among(-600_000, 600_000) : 0)),
    parking,
    fastFailover: chance(0.5),
    messages: parking ? messages.map((each) => sickened(each, chance)) : messages,
    faults,
    rewind: chance(0.1),
    sharesRow: chance(0.25),
  };
}

function message(
  n: number,
  moment: () => number,
  partitions: number,
  dice: Scheduler,
  chance: (probability: number) => boolean,
): PlannedMessage {
  const topic = chance(0.3) ? 'requests' : 'events';
  const key = topic === 'requests' || chance(0.5) ? 'header' : chance(0.5) ? 'message-id' : 'position';
  const reused = topic === 'events' && key === 'header' && chance(0.05);
  const copies = reused ? 1 : key !== 'position' && chance(0.35) ? 1 + dice.pick(2) : 0;
  const elsewhere = chance(0.3);
  const first = { step: Math.floor(moment()), partition: dice.pick(partitions), variant: 0 };
  const records = [first];
  for (let copy = 1; copy <= copies; copy++) {
    const step = first.step + (chance(0.5) ? dice.pick(5) : Math.floor(moment()));
    const partition = elsewhere ? dice.pick(partitions) : first.partition;
    records.push({ step, partition, variant: reused ? copy : 0 });
  }
  const behaviour = (): Behaviour => {
    if (chance(0.7)) return { kind: 'good' };
    // Of a request each failure but a wish to try again is the answer.
    const kinds = topic === 'events' ? EVENT_TROUBLE : REQUEST_TROUBLE;
    const kind = kinds[dice.pick(kinds.length)]!;
    return kind === 'poison' || kind === 'terminal' ? { kind } : { kind, runs: 1 + dice.pick(FAILING_RUNS) };
  };
  return {
    n,
    topic,
    key,
    records,
    behaviour: { first: behaviour(), second: behaviour(), answer: behaviour() },
    work: chance(0.5) ? 0 : dice.pick(40),
    emits: dice.pick(3),
    recordKey: RECORD_KEYS[dice.pick(RECORD_KEYS.length)]!,
    steps: chance(0.5) ? 0 : 1 + dice.pick(2),
    emitsInStep: chance(0.3),
  };
}

/** The same message where events are parked: a good part of what goes wrong does so until it is mended. */
function sickened(message: PlannedMessage, chance: (probability: number) => boolean): PlannedMessage {
  if (message.topic === 'requests') return message;
  const sicken = (behaviour: Behaviour): Behaviour =>
    behaviour.kind === 'poison' || (behaviour.kind !== 'terminal' && chance(0.2))
      ? { kind: 'sick' }
      : behaviour;
  const { first, second, answer } = message.behaviour;
  return { ...message, behaviour: { first: sicken(first), second: sicken(second), answer } };
}

function fault(
  step: number,
  instances: number,
  dice: Scheduler,
  chance: (probability: number) => boolean,
): PlannedFault {
  const instance = dice.pick(instances);
  const stored = chance(0.5);
  const lasts = 50 + dice.pick(chance(0.5) ? 1_000 : 25_000);
  const kinds: readonly FaultKind[] = [
    ...(['crash', 'crash', 'crash', 'stop', 'freeze', 'freeze', 'freeze', 'cut', 'slow-process'] as const),
    ...([
      'lose-commit-answer',
      'lose-commit-answer',
      'expel',
      'elect',
      'broker-pause',
      'store-down',
    ] as const),
    ...(['slow-store', 'fail-produce', 'fail-produce', 'fail-offset-commit'] as const),
  ];
  const kind = kinds[dice.pick(kinds.length)]!;
  switch (kind) {
    case 'crash':
    case 'stop':
      return { kind, step, instance, restartAfter: dice.pick(8_000) };
    case 'freeze':
      return { kind, step, instance, lasts };
    case 'cut':
      return { kind, step, instance };
    case 'lose-commit-answer':
      return { kind, step, instance, stored };
    case 'slow-process':
      return { kind, step, instance, lasts, by: 1 + dice.pick(2_000) };
    case 'expel':
      return { kind, step, member: dice.pick(MAX_INSTANCES) };
    case 'elect':
      return { kind, step, topic: stored ? 'events' : 'requests' };
    case 'broker-pause':
    case 'store-down':
      return { kind, step, lasts };
    case 'slow-store':
      return { kind, step, lasts, by: 1 + dice.pick(3_000) };
    case 'fail-produce':
    case 'fail-offset-commit':
      return { kind, step, count: 1 + dice.pick(3), stored };
  }
}

/** The mode of a handler. */
export function modeOf({ mode }: Pick<Plan, 'mode'>, handler: HandlerName): 'transaction' | 'claim' {
  if (mode !== 'mixed') return mode;
  return handler === 'second' ? 'claim' : 'transaction';
}

/** The ordering of an instance. */
export function orderingOf({ ordering }: Plan, instance: number): 'partition' | 'key' {
  if (ordering !== 'mixed') return ordering;
  return instance % 2 === 0 ? 'partition' : 'key';
}
