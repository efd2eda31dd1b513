/**
 * A few things that come and go for as long as their holder lives. A `Set` would do, but replaces its table every few
 * additions: an outgrown one that has reached the old generation keeps the next one alive, and so on, and with each what
 * was in it when it was outgrown. Everything that passes through is then promoted, now and then with all that it holds.
 */
export class Few<T> implements Iterable<T> {
  private readonly items: T[] = [];

  get size(): number {
    return this.items.length;
  }

  add(item: T): void {
    this.items.push(item);
  }

  /** The first one that fits, if there is one. */
  delete(fits: (item: T) => boolean): void {
    const index = this.items.findIndex(fits);
    if (index >= 0) this.items.splice(index, 1);
  }

  /** Those that are there now, whatever comes and goes meanwhile. */
  [Symbol.iterator](): Iterator<T> {
    return [...this.items][Symbol.iterator]();
  }
}
