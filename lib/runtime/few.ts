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

  find(fits: (item: T) => boolean): T | undefined {
    return this.items.find(fits);
  }

  /** What is not there is fine. */
  delete(item: T | undefined): void {
    const index = item === undefined ? -1 : this.items.indexOf(item);
    if (index >= 0) this.items.splice(index, 1);
  }

  /** Those that are there now, whatever comes and goes meanwhile. */
  [Symbol.iterator](): Iterator<T> {
    return [...this.items][Symbol.iterator]();
  }
}
