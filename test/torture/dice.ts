import { seeded } from '../crash/support/random.js';

/** Random choices that follow from a seed. */
export class Dice {
  private readonly next: () => number;

  constructor(private readonly seed: number) {
    this.next = seeded(seed);
  }

  /** Another source of choices: what is drawn from it changes nothing here. */
  fork(name: string): Dice {
    let hash = this.seed ^ 0x9e37_79b9;
    for (const letter of name) hash = Math.imul(hash ^ letter.charCodeAt(0), 0x0100_0193);
    return new Dice(hash >>> 0);
  }

  /** In [0, 1). */
  fraction(): number {
    return this.next();
  }

  /** A whole number from `least` to `most`, both included. */
  between(least: number, most: number): number {
    return least + Math.floor(this.next() * (most - least + 1));
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<Item>(items: readonly Item[]): Item {
    const item = items[Math.floor(this.next() * items.length)];
    if (item === undefined) throw new Error('There is nothing to pick from.');
    return item;
  }

  shuffled<Item>(items: readonly Item[]): Item[] {
    const left = [...items];
    const shuffled: Item[] = [];
    while (left.length > 0) shuffled.push(left.splice(Math.floor(this.next() * left.length), 1)[0]!);
    return shuffled;
  }

  uuid(): string {
    const hex = Array.from({ length: 32 }, () => Math.floor(this.next() * 16).toString(16));
    hex[12] = '4';
    hex[16] = '8';
    const text = hex.join('');
    return `${text.slice(0, 8)}-${text.slice(8, 12)}-${text.slice(12, 16)}-${text.slice(16, 20)}-${text.slice(20)}`;
  }
}
