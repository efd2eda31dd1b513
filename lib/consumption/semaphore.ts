/** Lets at most `permits` holders in at once, first come first served. */
export class Semaphore {
  private readonly waiting = new Set<() => void>();

  constructor(private permits: number) {}

  /** Resolves with `true` once let in, or with `false`, and nothing to release, when `signal` aborts before. */
  acquire(signal?: AbortSignal): Promise<boolean> {
    if (signal?.aborted) return Promise.resolve(false);
    if (this.permits > 0) {
      this.permits--;
      return Promise.resolve(true);
    }
    return new Promise((resolve) => {
      const enter = () => {
        signal?.removeEventListener('abort', leave);
        resolve(true);
      };
      const leave = () => {
        this.waiting.delete(enter);
        resolve(false);
      };
      this.waiting.add(enter);
      signal?.addEventListener('abort', leave, { once: true });
    });
  }

  release(): void {
    const [next] = this.waiting;
    if (!next) {
      this.permits++;
      return;
    }
    this.waiting.delete(next);
    next();
  }
}
