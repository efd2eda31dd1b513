import type { Bed, Place } from './bed.js';
import { type Program, SubjectProcess } from './subject-process.js';
import type { SubjectSettings, Work } from './subjects/settings.js';
import type { Variant } from './targets.js';

interface Definition {
  readonly program: Program;
  readonly options?: Readonly<Record<string, unknown>>;
  /** Its handlers note message ids by hand. */
  readonly inbox?: boolean;
  /** Records per second that runs are sized for: one insert, and an empty handler. */
  readonly rate: number;
  readonly emptyRate?: number;
}

const definitions: Readonly<Record<Variant, Definition>> = {
  ours: { program: 'durable', rate: 12_000, emptyRate: 80_000 },
  oursKey: {
    program: 'durable',
    options: { transport: { ordering: 'key', groupCommit: { concurrent: true } } },
    rate: 18_000,
  },
  oursClaim: { program: 'durable', options: { claim: 'plain' }, rate: 3_000 },
  oursStep: { program: 'durable', options: { claim: 'step' }, rate: 1_500 },
  nest: { program: 'builtIn', rate: 3_000, emptyRate: 40_000 },
  nestBest: {
    program: 'builtIn',
    options: { run: { partitionsConsumedConcurrently: 12 } },
    rate: 8_000,
    emptyRate: 40_000,
  },
  inbox: { program: 'builtIn', inbox: true, rate: 1_500 },
  inboxBest: {
    program: 'builtIn',
    inbox: true,
    options: { run: { partitionsConsumedConcurrently: 12 } },
    rate: 4_000,
  },
  dbos: { program: 'dbos', options: { ordering: 'none' }, rate: 800 },
  dbosOrdered: { program: 'dbos', options: { ordering: 'partition' }, rate: 8 },
  ceiling: { program: 'bare', rate: 20_000, emptyRate: 200_000 },
  ceilingPipelined: { program: 'bare', options: { pipelined: true }, rate: 35_000 },
};

/** Records of a run: what is measured, and a fifth of all before it as warm-up. */
export function sizeFor(
  variant: Variant,
  seconds: number,
  work: Work = 'insert',
): { records: number; warm: number } {
  const { rate, emptyRate = rate } = definitions[variant];
  const records = Math.max(24, Math.round((work === 'empty' ? emptyRate : rate) * seconds * 1.25));
  return { records, warm: Math.floor(records / 5) };
}

export interface SubjectStart {
  readonly work: Work;
  readonly marks?: readonly [number, number];
  readonly instance?: string;
  /** Beside those of the variant. */
  readonly options?: Readonly<Record<string, unknown>>;
}

/** Starts the service that a variant is. */
export function startSubject(bed: Bed, place: Place, variant: Variant, start: SubjectStart): SubjectProcess {
  const { program, options, inbox } = definitions[variant];
  const { work, marks = [0, 0], instance = 'a' } = start;
  const settings: SubjectSettings = {
    ...place,
    brokers: bed.brokers,
    databaseUrl: bed.databaseUrl,
    instance,
    work: inbox && work === 'insert' ? 'inbox' : work,
    marks,
    options: { ...options, ...start.options },
  };
  return new SubjectProcess(bed, program, settings);
}
