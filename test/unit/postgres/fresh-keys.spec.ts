import { FreshKeys } from '../../../lib/postgres/fresh-keys.js';

describe('FreshKeys', () => {
  const [scope, other] = [1, 2];

  it('takes keys for new until some were known, in their scope', () => {
    const keys = new FreshKeys();
    expect(keys.areLikely(scope)).toBe(true);
    keys.note(scope, true);
    expect(keys.areLikely(scope)).toBe(true);
    keys.note(scope, false);
    expect(keys.areLikely(scope)).toBe(false);
    expect(keys.areLikely(other)).toBe(true);
  });

  it('takes them for new again after many claims in a row without a known one', () => {
    const keys = new FreshKeys();
    const claimUntilLikely = () => {
      let claims = 0;
      while (!keys.areLikely(scope) && claims < 10_000) {
        keys.note(scope, true);
        claims++;
      }
      return claims;
    };
    keys.note(scope, false);
    const many = claimUntilLikely();
    expect(many).toBeGreaterThan(100);
    expect(many).toBeLessThan(1_000);

    keys.note(scope, false);
    for (let claim = 1; claim < many; claim++) keys.note(scope, true);
    expect(keys.areLikely(scope)).toBe(false);
    keys.note(scope, false);
    expect(claimUntilLikely()).toBe(many);
  });
});
