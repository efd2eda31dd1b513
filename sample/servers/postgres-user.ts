import { execFile } from 'node:child_process';
import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import type { RunAs } from './server-process.js';

/** Accounts that may run Postgres for root, in order of preference. It needs one that exists. */
const accounts = ['postgres', 'nobody', 'daemon'];

/** Whom Postgres runs as: us, or, since it refuses to run as root, an unprivileged account that exists already. */
export async function postgresUser(): Promise<Required<RunAs> | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  for (const account of accounts) {
    try {
      const [uid, gid] = await Promise.all([id('-u', account), id('-g', account)]);
      if (uid > 0) return { uid, gid };
    } catch {
      // no such account
    }
  }
  throw new Error(`Postgres refuses to run as root and none of the accounts ${accounts.join(', ')} exists.`);
}

/** True if an unprivileged account can get at `path`: every folder above it lets others pass. */
export async function isReachableByOthers(path: string): Promise<boolean> {
  for (let folder = dirname(path); ; folder = dirname(folder)) {
    if (((await stat(folder)).mode & 0o001) === 0) return false;
    if (folder === dirname(folder)) return true;
  }
}

async function id(option: string, account: string): Promise<number> {
  const { stdout } = await promisify(execFile)('id', [option, account]);
  return Number(stdout);
}
