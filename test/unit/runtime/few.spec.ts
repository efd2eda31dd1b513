import { Few } from '../../../lib/runtime/few.js';

describe('Few', () => {
  const of = (...items: string[]) => {
    const few = new Few<string>();
    for (const item of items) few.add(item);
    return few;
  };

  it('holds what was added, until it is deleted', () => {
    const few = of('a', 'b', 'c');
    few.delete((item) => item === 'b');
    few.delete((item) => item === 'd');
    expect({ items: [...few], size: few.size }).toEqual({ items: ['a', 'c'], size: 2 });
  });

  it('can be changed while it is gone through', () => {
    const few = of('a', 'b');
    const seen: string[] = [];
    for (const item of few) {
      seen.push(item);
      few.delete((other) => other === item);
      few.add(`${item}2`);
    }
    expect({ seen, items: [...few] }).toEqual({ seen: ['a', 'b'], items: ['a2', 'b2'] });
  });
});
