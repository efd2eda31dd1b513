import { isInfrastructureError } from '../errors/infrastructure.js';
import { sleep, type Clock } from '../runtime/clock.js';

const FIRST_DELAY = 50;
const MAX_DELAY = 1_000;

/**
 * Does what must not be given up lightly, because something has happened that only this can record. Tries again while the
 * store cannot be reached, for as long as `mayGoOn` says so; then rejects as the last try did.
 */
export async function insist<T>(clock: Clock, mayGoOn: () => boolean, work: () => Promise<T>): Promise<T> {
  for (let delay = FIRST_DELAY; ; delay = Math.min(delay * 2, MAX_DELAY)) {
    try {
      return await work();
    } catch (error) {
      if (!isInfrastructureError(error) || !mayGoOn()) throw error;
    }
    await sleep(clock, delay);
  }
}
