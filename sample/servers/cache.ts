import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import type { Guard } from './guard.js';

/** Per-user folder for what is downloaded or prepared once. Safe to delete while nothing runs. */
export function cacheFolder(): string {
  const base = process.env['XDG_CACHE_HOME'];
  return join(base && isAbsolute(base) ? base : join(homedir(), '.cache'), 'nestjs-durable-kafka');
}

/** Path of an entry of the cache, and whether it is there. An entry that is there is complete. */
export function cacheEntry(name: string): { path: string; present: boolean } {
  const path = join(cacheFolder(), name);
  return { path, present: existsSync(path) };
}

/**
 * Path of an entry, made by `make` in a folder of its own and moved into place as a whole if it was not there. Of several
 * processes that do so at once, the first to finish wins and all use its entry.
 */
export async function cached(
  name: string,
  guard: Guard,
  make: (folder: string) => Promise<void>,
): Promise<string> {
  const { path, present } = cacheEntry(name);
  if (present) return path;
  await mkdir(cacheFolder(), { recursive: true, mode: 0o700 });
  const draft = await mkdtemp(join(cacheFolder(), `.${name}-`));
  guard.folder(draft);
  try {
    await make(draft);
    await rename(draft, path).catch((error: unknown) => {
      if (!existsSync(path)) throw error;
    });
    return path;
  } finally {
    await rm(draft, { recursive: true, force: true });
    guard.done(draft);
  }
}
