import { NestMicroservice } from '@nestjs/microservices';

/**
 * Has applications start without a look on the disk. Nest looks for its package of web sockets, which is not installed,
 * each time that one starts, and no module system remembers what it did not find. That takes real time, which says nothing
 * about a seed.
 */
export function leaveOutWebSockets(): void {
  const prototype = NestMicroservice.prototype as unknown as { loadSocketModule(): Promise<void> };
  if (typeof prototype.loadSocketModule !== 'function') {
    throw new Error('Nest looks for its web sockets in another way now: let nest-packages.ts follow it');
  }
  prototype.loadSocketModule = () => Promise.resolve();
}
