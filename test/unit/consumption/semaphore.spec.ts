import { Semaphore } from '../../../lib/consumption/semaphore.js';

describe('Semaphore', () => {
  it('lets so many in, and the next ones in the order of their asking', async () => {
    const semaphore = new Semaphore(2);
    const entered: number[] = [];
    const enter = (id: number) => semaphore.acquire().then(() => void entered.push(id));
    const all = [1, 2, 3, 4].map(enter);
    await Promise.all(all.slice(0, 2));
    expect(entered).toEqual([1, 2]);
    semaphore.release();
    await all[2];
    expect(entered).toEqual([1, 2, 3]);
    semaphore.release();
    await all[3];
    expect(entered).toEqual([1, 2, 3, 4]);
    semaphore.release();
    semaphore.release();
    await Promise.all([enter(5), enter(6)]);
    expect(entered).toEqual([1, 2, 3, 4, 5, 6]);
  });

  it('forgets who has stopped waiting', async () => {
    const semaphore = new Semaphore(1);
    await semaphore.acquire();
    const impatient = new AbortController();
    const refused = semaphore.acquire(impatient.signal);
    const next = semaphore.acquire();
    impatient.abort();
    expect(await refused).toBe(false);
    semaphore.release();
    expect(await next).toBe(true);
    expect(await semaphore.acquire(AbortSignal.abort())).toBe(false);
    semaphore.release();
    expect(await semaphore.acquire()).toBe(true);
  });
});
