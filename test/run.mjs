/**
 * `npm test`: lint, types, build, then every spec against real servers. `npm test -- path` builds and runs the specs
 * that match. Starts one Kafka and one Postgres for all of them and ends both, whatever happens.
 */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** Each of these runs several services at once, and kills them. They wait for sessions most of the time: two at a time. */
const CRASH = ['/test/crash/'];
/** These want the machine for themselves: they take all of it, or measure. */
const HEAVY = ['/test/torture/', '/test/simulate/', '/test/bench/'];
const root = fileURLToPath(new URL('..', import.meta.url));
const selected = process.argv.slice(2);
let child;
let interrupted = false;
// Once for the children that share this terminal; an orderly end follows from theirs.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    interrupted = true;
    child?.kill(signal);
  });
}

process.exitCode = await main();

async function main() {
  if (selected.length === 0 && (await run('npm', ['run', '--silent', 'lint'])) !== 0) return 1;
  if ((await run('npm', ['run', '--silent', 'build'])) !== 0) return 1;
  const { startServers } = await import('../sample/dist/servers/index.js');
  const servers = await startServers({ log: (line) => console.log(line) });
  const addresses = { KAFKA_BROKERS: servers.brokers.join(','), DATABASE_URL: servers.databaseUrl };
  try {
    if (selected.length > 0) return await jest(selected, addresses);
    const ignored = ['/node_modules/', '/dist/', ...CRASH, ...HEAVY];
    const rest = await jest(
      ignored.map((path) => `--testPathIgnorePatterns=${path}`),
      addresses,
    );
    const crash = await jest(['--maxWorkers=2', ...CRASH], addresses);
    const heavy = await jest(['--runInBand', ...HEAVY], addresses);
    return rest || crash || heavy;
  } finally {
    await servers.stop();
  }
}

function jest(args, env) {
  const runner = ['--experimental-vm-modules', '--no-warnings', 'node_modules/jest/bin/jest.js'];
  return run(process.execPath, [...runner, ...args], env);
}

/** Resolves with the exit code; 1 for one that a signal ended. */
function run(command, args, env = {}) {
  if (interrupted) return Promise.resolve(1);
  return new Promise((resolve, reject) => {
    child = spawn(command, args, { cwd: root, stdio: 'inherit', env: { ...process.env, ...env } });
    child.on('error', reject);
    child.on('exit', (code) => resolve(code ?? 1));
  });
}
