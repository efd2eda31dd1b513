/** Program. Starts both servers, prints their addresses for a shell, and ends them on Ctrl-C. */
import { startServers } from './index.js';

const log = (line: string) => process.stderr.write(`${line}\n`);

try {
  const servers = await startServers({ log });
  process.stdout.write(
    `export KAFKA_BROKERS=${servers.brokers.join(',')} DATABASE_URL='${servers.databaseUrl}'\n`,
  );
  log('Both stay until Ctrl-C.');
  const alive = setInterval(() => undefined, 60_000);
  await new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => resolve());
  });
  clearInterval(alive);
  await servers.stop();
} catch (error) {
  log(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
}
