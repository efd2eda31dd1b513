import { readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

/** What must not outlive the process that started it. */
export interface Leftovers {
  /** Leaders of process groups, with the signal that ends each of them at once. */
  processes: { pid: number; signal: NodeJS.Signals }[];
  folders: string[];
}

/** Time for the signal of a process to work before SIGKILL; Postgres needs up to 5 s to lose a stuck backend. */
const patienceMs = 8_000;

/** Ends the processes, then removes the folders. Never rejects: it runs when nobody is left to hear about it. */
export async function cleanUp({ processes, folders }: Leftovers): Promise<void> {
  for (const { pid, signal } of processes) signalGroup(pid, signal);
  if (!(await allGone(processes, patienceMs))) {
    for (const { pid } of processes) signalGroup(pid, 'SIGKILL');
    await allGone(processes, patienceMs);
  }
  for (const folder of folders)
    await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 }).catch(() => undefined);
}

/** Signals a whole process group; false if there is none. Signal 0 only asks. */
export function signalGroup(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    process.kill(-pid, signal);
    return true;
  } catch {
    return false;
  }
}

async function allGone(processes: Leftovers['processes'], timeoutMs: number): Promise<boolean> {
  const deadline = performance.now() + timeoutMs;
  while (processes.some(({ pid }) => signalGroup(pid, 0) && !isZombie(pid))) {
    if (performance.now() > deadline) return false;
    await sleep(20);
  }
  return true;
}

/** Ended, but not yet waited for: in a container whose first process is no init that can last for ever. */
function isZombie(pid: number): boolean {
  try {
    return /\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false; // no such process, or no /proc
  }
}
