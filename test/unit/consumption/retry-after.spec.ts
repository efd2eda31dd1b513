import { retryAfter } from '../../../lib/consumption/retry-after.js';
import { systemClock, type Clock } from '../../../lib/runtime/clock.js';

const clock: Clock = { ...systemClock, now: () => 1_000_000 };
const hostile = {
  get retryAfter(): number {
    throw new Error('no');
  },
};

it.each([
  ['milliseconds', { retryAfter: 250 }, 250],
  ['a part of a millisecond', { retryAfter: 0.2 }, 1],
  ['nothing to wait for', { retryAfter: 0 }, 0],
  ['a time', { retryAfter: new Date(1_000_750) }, 750],
  ['a time that is over', { retryAfter: new Date(5) }, 0],
  ['for ever', { retryAfter: Infinity }, 2 ** 31 - 1],
  ['less than nothing', { retryAfter: -1 }, undefined],
  ['no number', { retryAfter: Number.NaN }, undefined],
  ['no time', { retryAfter: new Date(Number.NaN) }, undefined],
  ['text', { retryAfter: '120' }, undefined],
  ['an error without it', new Error('x'), undefined],
  ['a property that throws', hostile, undefined],
  ['nothing at all', undefined, undefined],
  ['null', null, undefined],
])('reads %s', (_what, error, delay) => {
  expect(retryAfter(error, clock)).toBe(delay);
});
