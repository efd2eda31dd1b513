/**
 * Knows which records of a partition are done, and so how far its offset may be committed: never past one that is
 * not done, whatever order they end in.
 */
export class OffsetTracker {
  // A queue with a moving head: shifting an array of thousands per record would be quadratic.
  private entries: { offset: bigint; pending: number }[] = [];
  private head = 0;
  private readonly index = new Map<bigint, { offset: bigint; pending: number }>();
  private next: bigint;
  private last: number | undefined;

  /** @param start the first offset that will be tracked: what a commit would say before anything is done. */
  constructor(start: bigint) {
    this.next = start;
  }

  /** Records that are held and not done. */
  get size(): number {
    return this.index.size;
  }

  /** Records from the first that is not done up to the last, done or not. */
  get span(): number {
    return this.entries.length - this.head;
  }

  /** Above the last record that was taken in. */
  get end(): bigint {
    return this.next;
  }

  /** Of the last record that was taken in: no record below `end` has a higher one. `undefined` where nobody knows. */
  get leaderEpoch(): number | undefined {
    return this.last;
  }

  /** The offset to commit: everything below is done. */
  get position(): bigint {
    const first = this.entries[this.head];
    return first ? first.offset : this.next;
  }

  /**
   * A record was taken in, to be done `parts` times (once per handler; 0 = already done). In offset order; a record that
   * is not done may be given further parts at any time.
   */
  add(offset: bigint, parts: number, leaderEpoch = this.last): void {
    const inWork = this.index.get(offset);
    if (inWork) {
      // Read again (somebody sought back) before it was done: done when both are.
      inWork.pending += parts;
      return;
    }
    const entry = { offset, pending: parts };
    this.entries.push(entry);
    this.index.set(offset, entry);
    this.next = offset + 1n;
    this.last = leaderEpoch;
    if (parts === 0) this.settle(entry);
  }

  /** One part of a record is done. */
  complete(offset: bigint): void {
    const entry = this.index.get(offset);
    if (!entry) return;
    entry.pending--;
    this.settle(entry);
  }

  private settle(entry: { offset: bigint; pending: number }): void {
    if (entry.pending > 0) return;
    this.index.delete(entry.offset);
    while (this.head < this.entries.length && this.entries[this.head]!.pending <= 0) this.head++;
    if (this.head > 1024 && this.head * 2 > this.entries.length) {
      this.entries = this.entries.slice(this.head);
      this.head = 0;
    }
  }
}
