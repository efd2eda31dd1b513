import type { Clock, Timer } from './clock.js';

/** Upkeep that is done again and again, with a pause in between; never twice at once. Keeps no process alive. */
export class Periodic {
  private timer: Timer | undefined;
  private working: Promise<void> | undefined;
  private running = false;
  private hurried = false;

  /**
   * @param pause milliseconds from the end of one run to the beginning of the next, and before the first.
   * @param work is given a function that tells whether it should come to an end. Its failures go to `onError`.
   */
  constructor(
    private readonly clock: Clock,
    private readonly pause: number,
    private readonly work: (stopping: () => boolean) => Promise<void>,
    private readonly onError: (error: unknown) => void,
  ) {}

  start(): void {
    if (this.running) return;
    this.running = true;
    this.schedule();
  }

  /** Has the next run begin now, or at the end of the one under way, and resolves at its end. Tolerates not-started. */
  async hurry(): Promise<void> {
    if (!this.running) return;
    if (this.working) {
      this.hurried = true;
      await this.working;
    } else {
      this.clock.clearTimeout(this.timer);
      this.begin();
    }
    await this.working;
  }

  /** Resolves when nothing runs any more. Idempotent; tolerates never-started. */
  async stop(): Promise<void> {
    this.running = false;
    this.clock.clearTimeout(this.timer);
    await this.working;
  }

  private schedule(): void {
    this.timer = this.clock.setBackgroundTimeout(() => this.begin(), this.pause);
  }

  private begin(): void {
    this.hurried = false;
    this.working = this.run();
  }

  private async run(): Promise<void> {
    try {
      await this.work(() => !this.running);
    } catch (error) {
      this.onError(error);
    }
    this.working = undefined;
    if (!this.running) return;
    if (this.hurried) this.begin();
    else this.schedule();
  }
}
