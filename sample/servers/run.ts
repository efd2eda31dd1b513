import { spawn } from 'node:child_process';
import { basename } from 'node:path';
import type { Guard } from './guard.js';
import type { RunAs } from './server-process.js';

/** Runs a program to its end under the guard's eyes; rejects with the last lines it printed unless it exits with 0. */
export async function run(
  guard: Guard,
  file: string,
  args: string[],
  options: RunAs & { cwd?: string; env?: NodeJS.ProcessEnv; timeoutMs?: number } = {},
): Promise<string> {
  const { timeoutMs = 60_000, ...rest } = options;
  const child = spawn(file, args, { ...rest, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
  const { pid } = child;
  if (pid !== undefined) guard.process(pid, 'SIGKILL');
  let output = '';
  const collect = (chunk: Buffer) => (output = (output + chunk.toString()).slice(-16_384));
  child.stdout.on('data', collect);
  child.stderr.on('data', collect);
  const timer = setTimeout(() => pid !== undefined && process.kill(-pid, 'SIGKILL'), timeoutMs);
  try {
    const how = await new Promise<string | undefined>((resolve) => {
      child.once('close', (code, signal) =>
        resolve(signal ? `signal ${signal}` : code === 0 ? undefined : `exit code ${code}`),
      );
      child.once('error', (error) => resolve(error.message));
    });
    if (how === undefined) return output;
    const lines = output.trimEnd().split('\n').slice(-10);
    throw new Error(`${basename(file)} failed (${how}):\n${lines.map((line) => `  ${line}`).join('\n')}`);
  } finally {
    clearTimeout(timer);
    if (pid !== undefined) guard.gone(pid);
  }
}
