import { setTimeout as sleep } from 'node:timers/promises';
import type { ChildProcess } from './child-process.js';
import type { RequestCounts } from './requester.js';

/** The supervisor's side of the process that asks for balances. */
export class Requests {
  constructor(private readonly requester: ChildProcess) {}

  /** Asks no more. */
  finish(): void {
    this.requester.send('finish');
  }

  /** Resolves when all requests are answered, or when `graceMs` is over: what is open then has been lost. */
  async settled(graceMs: number): Promise<RequestCounts> {
    const deadline = performance.now() + graceMs;
    for (;;) {
      const counts = await this.report();
      if (counts.open === 0 || performance.now() > deadline) return counts;
      await sleep(100);
    }
  }

  private async report(): Promise<RequestCounts> {
    const answer = this.requester.nextMessage();
    this.requester.send('report');
    return Promise.race([
      answer.then((message) => message as RequestCounts),
      this.requester.ended.then(() => {
        throw new Error(this.requester.describe('ended by itself'));
      }),
    ]);
  }
}
