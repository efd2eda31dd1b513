import { existsSync, readdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

interface Manifest {
  exports: Record<string, string | { types: string; default: string }>;
  main: string;
  types: string;
  files: string[];
  sideEffects: string[];
  peerDependencies: Record<string, string>;
  devDependencies: Record<string, string>;
  dependencies?: Record<string, string>;
}

const manifest = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as Manifest;

/** The source of a file in dist. */
function sourceOf(target: string): string {
  return target.replace(/^\.\/dist\//, 'lib/').replace(/(?:\.d\.ts|\.js)$/, '.ts');
}

describe('the manifest of the package', () => {
  const targets = Object.values(manifest.exports).flatMap((entry) =>
    typeof entry === 'string' ? [] : [entry.types, entry.default],
  );

  it('leads to files that are built', () => {
    const all = [...targets, manifest.main, manifest.types, ...manifest.sideEffects];
    expect(all.filter((target) => !existsSync(join(ROOT, sourceOf(target))))).toEqual([]);
  });

  it('lists files that are there, and publishes what people read', () => {
    const listed = manifest.files.filter((file) => file !== 'dist');
    expect(listed.filter((file) => !existsSync(join(ROOT, file)))).toEqual([]);
    expect(listed).toEqual(expect.arrayContaining(['CHANGELOG.md', 'LICENSE', 'README.md']));
  });

  it('names what has side effects', () => {
    expect(manifest.sideEffects).toEqual(['./dist/register.js']);
  });

  it('has no dependencies but peers, each installed for the tests', () => {
    expect(manifest.dependencies).toBeUndefined();
    expect(
      Object.keys(manifest.peerDependencies).filter((name) => !(name in manifest.devDependencies)),
    ).toEqual([]);
  });

  it('has the migrations numbered without a gap', () => {
    const files = readdirSync(join(ROOT, 'lib/postgres/migrations')).sort();
    expect(files.map((file) => Number(file.slice(0, 4)))).toEqual(files.map((_, index) => index + 1));
  });
});
