import { decodeStepResult, encodeStepResult, MAX_STEP_RESULT } from '../../../lib/execution/step-result.js';

const roundTrip = (value: unknown) => decodeStepResult(encodeStepResult('charge', value));

describe("a step's result", () => {
  it.each<[string, unknown]>([
    ['undefined', undefined],
    ['null', null],
    ['text', 'ünïcode \0 \u{1f980}'],
    ['a number', -0.5],
    ['NaN', NaN],
    ['a BigInt', 2n ** 80n],
    ['a Date', new Date(1_700_000_000_123)],
    ['a Buffer', Buffer.from([0, 1, 255])],
    ['a typed array', new Uint16Array([1, 65_535])],
    ['a Map', new Map<unknown, unknown>([[1, { deep: new Set([2n]) }]])],
    ['a regular expression', /a+/gi],
    ['a list with holes and undefined', [1, , undefined]], // eslint-disable-line no-sparse-arrays
    ['an object', { a: undefined, b: [{ c: new Date(0) }], ['__proto__']: 1 }],
  ])('keeps %s', (_name, value) => {
    expect(roundTrip(value)).toEqual(value);
  });

  it('keeps which of its parts are one, and cycles', () => {
    const shared = { x: 1 };
    const cyclic: Record<string, unknown> = { first: shared, second: shared };
    cyclic['self'] = cyclic;
    const back = roundTrip(cyclic) as typeof cyclic;
    expect(back['self']).toBe(back);
    expect(back['first']).toBe(back['second']);
  });

  it("keeps an error's name, message, stack, cause and fields", () => {
    const error = Object.assign(new TypeError('no', { cause: new Error('why') }), {
      code: 'E_NO',
      details: { at: new Date(5) },
    });
    const [back] = roundTrip([error]) as [typeof error & { cause: Error }];
    expect(back).toBeInstanceOf(Error);
    expect(String(back)).toBe('TypeError: no');
    expect(back.stack).toBe(error.stack);
    expect(back.code).toBe('E_NO');
    expect(back.details).toEqual({ at: new Date(5) });
    expect(back.cause.message).toBe('why');
    expect(Object.keys(back)).toEqual(['code', 'details']);
  });

  it('of a class comes back as plain data', () => {
    class Money {
      constructor(readonly cents: bigint) {}
    }
    const back = roundTrip(new Money(5n));
    expect(back).toEqual({ cents: 5n });
    expect(back).not.toBeInstanceOf(Money);
  });

  it.each<[string, unknown]>([
    ['a function', { secret: 'payload', run: () => 'payload' }],
    ['a promise', [Promise.resolve('payload')]],
    ['a symbol', Symbol('payload')],
    ['a WeakMap', new WeakMap()],
  ])('that holds %s is refused, by the name of the step and without its content', (_name, value) => {
    const message = expect.not.stringContaining('payload') as string;
    expect(() => encodeStepResult('charge', value)).toThrow(
      expect.objectContaining({ code: 'KT_STEP_RESULT', retryable: false, message }),
    );
    expect(() => encodeStepResult('charge', value)).toThrow('"charge"');
  });

  it('that is too large is refused', () => {
    expect(() => encodeStepResult('big', Buffer.alloc(MAX_STEP_RESULT))).toThrow('at most 1048576');
    expect(roundTrip(Buffer.alloc(MAX_STEP_RESULT - 100))).toHaveLength(MAX_STEP_RESULT - 100);
  });

  it('in a format of the future, or damaged, is told from others', () => {
    expect(() => decodeStepResult(Buffer.from([9]))).toThrow('format 9');
    expect(() => decodeStepResult(Buffer.from([1, 2, 3]))).toThrow('damaged');
  });
});
