import type { Options } from './options.js';
import type { TrialResult } from './trial.js';

/** Both services after the same scenario. */
export interface Results {
  readonly ours: TrialResult;
  readonly builtIn: TrialResult;
}

type Row = readonly [label: string, value: (result: TrialResult) => string];

const rows: readonly Row[] = [
  ['transfers produced (records)', (r) => `${n(r.produced)} (${n(r.records)})`],
  ['journal lines', (r) => n(r.journalLines)],
  ['booked twice or more', (r) => n(r.bookedTwice)],
  ['  superfluous lines before the rewind', (r) => n(r.superfluousBeforeRewind)],
  ['lost', (r) => n(r.lost)],
  ['money created / destroyed', (r) => `${n(r.moneyCreated)} / ${n(r.moneyDestroyed)}`],
  ['events missing / repeated', (r) => `${n(r.unannounced)} / ${n(r.announcedTwice)}`],
  ['requests answered / lost / wrong', (r) => `${n(r.answered)} / ${n(r.open)} / ${n(r.wrong)}`],
  ['duplicates suppressed', (r) => n(r.suppressed)],
  ['kills (in mid-work)', (r) => `${n(r.kills)} (${n(r.killsInMidWork)})`],
  ['ended by itself', (r) => n(r.unplannedEnds)],
  ['wall time', (r) => `${r.seconds.toFixed(1)} s`],
];

/** For people, several lines. */
export function table({ ours, builtIn }: Results): string {
  const cells = [
    ['', 'built-in', 'nestjs-durable-kafka'],
    ...rows.map(([label, value]) => [label, value(builtIn), value(ours)]),
  ];
  const widths = [0, 1, 2].map((column) => Math.max(...cells.map((row) => row[column]!.length)));
  const lines = cells.map(([label, left, right]) =>
    [label!.padEnd(widths[0]!), left!.padStart(widths[1]!), right!.padStart(widths[2]!)].join('   '),
  );
  lines.splice(1, 0, widths.map((width) => '─'.repeat(width)).join('   '));
  return [
    ...lines,
    '',
    'Counted from tables and topics. Money: what accounts hold too much / too little, after every produced transfer once.',
    'Events: transfer.booked, per transfer in the journal; records with one message-id count once.',
    'Suppressed: deliveries known from outside (each record, again if the rewind brought it back) that added no line.',
  ].join('\n');
}

/** The last line of a run for people. */
export function closingLine({ ours, builtIn }: Results): string {
  const figures = (r: TrialResult) =>
    `${r.booked} booked, ${r.bookedTwice} twice, ${r.lost} lost, balance off by ${balanceOff(r)}`;
  return `exactly once: ${ours.produced} transfers, ${figures(ours)}; built-in: ${figures(builtIn)}`;
}

/** The last line of a run for programs. */
export function jsonLine({ ours, builtIn }: Results, { seed, kills }: Options, seconds: number): string {
  const figures = (r: TrialResult) => ({
    produced: r.produced,
    booked: r.booked,
    bookedTwice: r.bookedTwice,
    lost: r.lost,
    balanceOff: balanceOff(r),
    requests: r.requests,
    repliesLost: r.open,
    repliesWrong: r.wrong,
    suppressed: r.suppressed,
  });
  return JSON.stringify({
    ours: figures(ours),
    builtIn: figures(builtIn),
    kills,
    seed,
    seconds: Math.round(seconds * 10) / 10,
  });
}

/** What keeps a result from being exact, a phrase each; none if it is. */
export function flaws(r: TrialResult, { transfers, kills }: Options): string[] {
  const flaw = (is: boolean, text: string) => (is ? [text] : []);
  return [
    ...flaw(r.produced !== transfers, `${r.produced} of ${transfers} transfers are in the topic`),
    ...flaw(r.booked !== transfers, `${r.booked} are booked`),
    ...flaw(r.bookedTwice > 0, `${r.bookedTwice} are booked more than once`),
    ...flaw(r.journalLines !== transfers, `the journal has ${r.journalLines} lines`),
    ...flaw(balanceOff(r) !== 0, `balances are off by ${balanceOff(r)}`),
    ...flaw(r.unannounced > 0, `${r.unannounced} are booked without an event`),
    ...flaw(r.announcedTwice > 0, `${r.announcedTwice} are announced by more than one event`),
    ...flaw(r.announcedFalsely > 0, `${r.announcedFalsely} events announce what is not booked`),
    ...flaw(r.requests === 0, 'no request was made'),
    ...flaw(r.open > 0, `${r.open} replies are lost`),
    ...flaw(r.wrong > 0, `${r.wrong} replies are wrong (${r.firstWrong})`),
    ...flaw(r.unplannedEnds > 0, `the service ended by itself (${r.unplannedEnds})`),
    ...flaw(r.kills !== kills, `${r.kills} of ${kills} kills took place`),
  ];
}

/** Money on wrong accounts: how far each is from where it should be, summed up. */
function balanceOff({ moneyCreated, moneyDestroyed }: TrialResult): number {
  return moneyCreated + moneyDestroyed;
}

function n(value: number): string {
  return value.toLocaleString('en-US');
}
