import { deallocatesAll } from '../../../lib/postgres/deallocation.js';

describe('deallocatesAll', () => {
  it.each(['deallocate all', ' DEALLOCATE PREPARE\n ALL;', '/* a */ select 1; deallocate all'])(
    'finds it wherever it stands: %s',
    (text) => {
      expect(deallocatesAll(text)).toBe(true);
    },
  );

  it.each(['deallocate mine', "select 'deallocate all'", 'select 1 -- deallocate all', 'deallocate "all"'])(
    'leaves alone what forgets nothing else: %s',
    (text) => {
      expect(deallocatesAll(text)).toBe(false);
    },
  );
});
