import { freePort } from './free-port.js';

const portTaken =
  /address already in use|failed to bind|could not bind|could not create any TCP\/IP sockets/i;

/** Runs `start` with a free port, and again with another one if somebody else was faster on it. */
export async function onFreePort<Value>(start: (port: number) => Promise<Value>): Promise<Value> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await start(await freePort());
    } catch (error) {
      if (attempt === 3 || !(error instanceof Error && portTaken.test(error.message))) throw error;
    }
  }
}
