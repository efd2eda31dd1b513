import type { INestMicroservice } from '@nestjs/common';

/** Runs a service until SIGTERM, and tells the supervisor when it has joined its group. */
export async function serve(app: INestMicroservice): Promise<void> {
  app.enableShutdownHooks(['SIGTERM']);
  await app.listen();
  process.send?.('ready');
}
