import type { INestMicroservice } from '@nestjs/common';
import { tell } from './settings.js';

/** Runs a service until SIGTERM, and tells when it has joined its group. */
export async function serve(app: INestMicroservice): Promise<void> {
  app.enableShutdownHooks(['SIGTERM']);
  await app.listen();
  tell({ ready: true });
}
