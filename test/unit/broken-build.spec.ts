import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { BUGS, createBrokenBuild } from '../support/broken-build.js';

describe('broken builds', () => {
  it.each(BUGS)('the bug "%s" can be put in: what it patches is still there', async (bug) => {
    const build = await createBrokenBuild(bug);
    try {
      expect(existsSync(join(build.folder, 'dist', 'index.js'))).toBe(true);
    } finally {
      await build.remove();
    }
    expect(existsSync(build.folder)).toBe(false);
  });
});
