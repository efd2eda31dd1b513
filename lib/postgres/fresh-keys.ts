/** After so many claims in a row whose keys were all new, a scope's keys are taken for new again. */
const CAUTIOUS_CLAIMS = 256;

/**
 * Whether keys that are claimed are likely to be new, by scope. Most are, and a claim that relies on it writes an eighth
 * less; one that errs was for nothing. So records that come again, by the thousands after a rewind, or all day from a
 * producer that repeats itself, teach it caution.
 */
export class FreshKeys {
  /** Claims to go until keys are taken for new again. */
  private readonly cautious = new Map<number, number>();

  areLikely(scopeId: number): boolean {
    return !this.cautious.has(scopeId);
  }

  /** A claim of the scope has found its keys all new, or has not. */
  note(scopeId: number, allNew: boolean): void {
    if (!allNew) {
      this.cautious.set(scopeId, CAUTIOUS_CLAIMS);
      return;
    }
    const left = this.cautious.get(scopeId);
    if (left === undefined) return;
    if (left > 1) this.cautious.set(scopeId, left - 1);
    else this.cautious.delete(scopeId);
  }
}
