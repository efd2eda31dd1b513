import { headerName } from '../../../lib/messages/header-names.js';

describe('the name of a header', () => {
  it.each(['message-id', '', '__proto__', 'constructor', '7', 'Zürich 🚆', 'x'.repeat(5_000)])(
    'is what was decoded, whatever it means elsewhere: %.20s',
    (name) => {
      for (let time = 0; time < 2; time++) expect(headerName(Buffer.from(name).toString())).toBe(name);
    },
  );

  it('is right however many names producers make up', () => {
    const names = Array.from({ length: 2_000 }, (_, index) => `made-up-${index}`);
    expect(names.map(headerName)).toEqual(names);
    expect(names.map(headerName)).toEqual(names);
  });
});
