import { BrokerUnreachableError } from '../../errors/errors.js';
import { deferred } from '../../runtime/deferred.js';
import type { Clock } from '../../runtime/clock.js';
import type { Broker } from './broker.js';

/**
 * One client's connection. Requests arrive in the order in which they were sent, and answers come back in the order
 * in which they were given, each in an event-loop turn of its own: nothing re-enters the caller.
 */
export class Connection {
  readonly #requests: (() => void)[] = [];
  readonly #answers: (() => void)[] = [];
  #severed = false;

  /** @param clock the client's; the broker has its own. */
  constructor(
    readonly broker: Broker,
    private readonly clock: Clock,
  ) {}

  /**
   * Has the broker do `work` and resolves with its answer. Without an answer in `timeout` ms it rejects with a
   * retryable `BrokerUnreachableError`, and the work may still be done later, as on any network. `0` waits for ever.
   */
  request<T>(what: string, work: () => T | Promise<T>, timeout = this.broker.requestTimeout): Promise<T> {
    const { promise, resolve, reject } = deferred<T>();
    if (this.#severed) return promise;
    const { clock } = this;
    const timer =
      timeout > 0
        ? clock.setTimeout(() => {
            if (!this.#severed) reject(unanswered(what, timeout));
          }, timeout)
        : undefined;
    const answer = (settle: () => void) =>
      this.#hop(this.#answers, clock, () => {
        clock.clearTimeout(timer);
        if (!this.#severed) settle();
      });
    this.#hop(this.#requests, this.broker.clock, () => {
      try {
        const result = work();
        if (result instanceof Promise) {
          result.then(
            (value) => answer(() => resolve(value)),
            (error: unknown) => answer(() => reject(error)),
          );
        } else answer(() => resolve(result));
      } catch (error) {
        answer(() => reject(error));
      }
    });
    return promise;
  }

  /** The client's process died: what it has sent still arrives, but no promise of this connection settles any more. */
  sever(): void {
    this.#severed = true;
  }

  get severed(): boolean {
    return this.#severed;
  }

  // A seeded clock may run turns in any order; whichever comes first takes the oldest, so a connection stays a queue.
  #hop(queue: (() => void)[], clock: Clock, work: () => void): void {
    queue.push(work);
    clock.setImmediate(() => this.broker.perform(() => queue.shift()!(), clock));
  }
}

function unanswered(what: string, timeout: number): BrokerUnreachableError {
  return new BrokerUnreachableError(
    `The broker did not answer ${what} within ${timeout} ms. It may have been carried out.`,
  );
}
