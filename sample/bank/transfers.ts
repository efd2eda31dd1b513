import type { Random } from './random.js';
import type { Transfer } from './services/messages.js';

export const accounts = 100;
/** Of each account at the start, in whole units of money. */
export const initialBalance = 10_000;
/** Share of transfers that are produced twice under one idempotency key. */
const repeated = 0.05;

/** Different transfers, numbered from 1. */
export function seededTransfers(count: number, random: Random): Transfer[] {
  return Array.from({ length: count }, (_, index) => {
    const from = random.integer(1, accounts);
    const to = ((from - 1 + random.integer(1, accounts - 1)) % accounts) + 1;
    return { id: index + 1, from, to, amount: random.integer(1, 100) };
  });
}

/**
 * What is produced wave by wave: each transfer once, and some of them a second time, either soon after or in the next
 * wave, as a producer does that got no acknowledgement or was restarted.
 */
export function withRepetitions(waves: readonly Transfer[][], random: Random): Transfer[][] {
  const produced: Transfer[][] = waves.map(() => []);
  waves.forEach((wave, number) => {
    const [now, next] = [produced[number]!, produced[number + 1] ?? produced[number]!];
    const soon: Transfer[] = [];
    for (const transfer of wave) {
      now.push(transfer);
      if (soon.length > 0 && random.fraction() < 0.2) now.push(soon.pop()!);
      if (random.fraction() < repeated) (random.fraction() < 0.5 ? soon : next).push(transfer);
    }
    now.push(...soon);
  });
  return produced;
}

/** What each account must hold once every one of these transfers has been booked once. Index 0 is account 1. */
export function balancesAfter(transfers: Iterable<Transfer>): number[] {
  const balances = new Array<number>(accounts).fill(initialBalance);
  for (const { from, to, amount } of transfers) {
    balances[from - 1]! -= amount;
    balances[to - 1]! += amount;
  }
  return balances;
}
