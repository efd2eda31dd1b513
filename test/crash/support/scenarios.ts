/**
 * Scenarios that run at the same time, each judged by a test of its own: most of their time is spent waiting for
 * session timeouts.
 */
export class Scenarios<Name extends string> {
  private readonly runs = new Map<Name, Promise<void>>();

  start(name: Name, run: () => Promise<void>): void {
    const running = run();
    // Reported by the test that awaits it.
    running.catch(() => undefined);
    this.runs.set(name, running);
  }

  /** Resolves or rejects as the scenario does. */
  result(name: Name): Promise<void> {
    return this.runs.get(name) ?? Promise.reject(new Error(`The scenario "${name}" was not started`));
  }

  /** Resolves when none of them runs any more. */
  async ended(): Promise<void> {
    await Promise.allSettled(this.runs.values());
  }
}
