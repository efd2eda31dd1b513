/**
 * Program. Outlives the process that started it by as long as it takes to clean up: it reads from standard input what
 * there is to end and to remove, and does so when the input closes, which happens however its parent ends.
 */
import { createInterface } from 'node:readline';
import { cleanUp } from './clean-up.js';
import type { GuardMessage } from './guard.js';

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined);

const processes = new Map<number, NodeJS.Signals>();
const folders = new Set<string>();

for await (const line of createInterface({ input: process.stdin })) {
  const message = JSON.parse(line) as GuardMessage;
  if ('process' in message) processes.set(message.process, message.signal);
  else if ('gone' in message) processes.delete(message.gone);
  else if ('folder' in message) folders.add(message.folder);
  else folders.delete(message.done);
}
await cleanUp({
  processes: [...processes].map(([pid, signal]) => ({ pid, signal })),
  folders: [...folders],
});
