/**
 * Thread beside a process of the service: writes where the main thread stands, when asked. A main thread that is blocked
 * answers nobody, so the question is a file, and so is the answer.
 */
import { existsSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { Session, type Debugger, type InspectorNotification } from 'node:inspector';
import { isMainThread, Worker, workerData } from 'node:worker_threads';

const PAUSE = 500;

/** The file that asks, and the one that answers. */
export const stackFiles = (executionLog: string) => ({
  wanted: `${executionLog}.stack-wanted`,
  written: `${executionLog}.stack`,
});

/** Starts the thread for this process. It keeps nobody alive. */
export function writeStacks(executionLog: string): void {
  new Worker(new URL(import.meta.url), { workerData: { executionLog } }).unref();
}

function look(executionLog: string): void {
  const { wanted, written } = stackFiles(executionLog);
  if (existsSync(wanted)) {
    rmSync(wanted);
    capture((lines) => {
      writeFileSync(`${written}.part`, lines.join('\n'));
      renameSync(`${written}.part`, written);
    });
  }
  setTimeout(() => look(executionLog), PAUSE);
}

/** Stops the main thread for a moment, wherever it is in JavaScript. */
function capture(tell: (lines: string[]) => void): void {
  const session = new Session();
  session.connectToMainThread();
  const files = new Map<string, string>();
  session.on(
    'Debugger.scriptParsed',
    ({ params: { scriptId, url } }: InspectorNotification<Debugger.ScriptParsedEventDataType>) =>
      files.set(scriptId, url),
  );
  session.once(
    'Debugger.paused',
    ({ params: { callFrames } }: InspectorNotification<Debugger.PausedEventDataType>) => {
      tell(
        callFrames.map(
          ({ functionName, location: { scriptId, lineNumber } }) =>
            `at ${functionName || '(anonymous)'} (${files.get(scriptId) ?? 'unknown'}:${lineNumber + 1})`,
        ),
      );
      session.post('Debugger.resume');
      session.post('Debugger.disable', () => session.disconnect());
    },
  );
  session.post('Debugger.enable');
  session.post('Debugger.pause');
}

if (!isMainThread) look((workerData as { executionLog: string }).executionLog);
