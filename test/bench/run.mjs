/** `npm run bench`: installs the peers into their folder once, builds, and runs the benchmark with the same arguments. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const peers = fileURLToPath(new URL('./peers', import.meta.url));
const root = fileURLToPath(new URL('../..', import.meta.url));

process.exitCode = await main();

async function main() {
  if (!existsSync(new URL('./peers/node_modules/.package-lock.json', import.meta.url))) {
    const code = await run('npm', ['ci', '--no-fund', '--no-audit'], peers);
    if (code !== 0) return code;
  }
  const code = await run('npm', ['run', '--silent', 'build'], root);
  if (code !== 0) return code;
  return run(process.execPath, ['test/dist/test/bench/main.js', ...process.argv.slice(2)], root);
}

/** Resolves with the exit code; 1 for one that a signal ended. What is no result goes to standard error. */
function run(command, args, cwd) {
  const isResult = command === process.execPath;
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd, stdio: ['inherit', isResult ? 'inherit' : 2, 'inherit'] });
    const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'];
    // Ctrl-C reaches the child by itself; an orderly end follows from its own.
    const pass = (signal) => void child.kill(signal);
    for (const signal of signals) process.on(signal, pass);
    child.on('error', reject);
    child.on('exit', (code) => {
      for (const signal of signals) process.off(signal, pass);
      resolve(code ?? 1);
    });
  });
}
