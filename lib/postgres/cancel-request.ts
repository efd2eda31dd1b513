import { connect } from 'node:net';
import type { ClientBase } from 'pg';
import { settlesWithin, type Clock } from '../runtime/clock.js';

/** Milliseconds that the server may take to hear of it. */
const PATIENCE = 1_000;
/** As the protocol names a cancel request in the place of a version. */
const CANCEL_REQUEST = 80_877_102;

/** What a client of `pg` knows of its server, beyond what its types tell. */
interface Address {
  readonly host?: string | undefined;
  readonly port?: number | undefined;
  readonly processID?: number | null;
  readonly secretKey?: number | null;
}

/**
 * Has the server cancel what a connection is doing, by the key that it gave out when the connection began: needs no
 * other connection of a pool, and poolers hand it on. Takes effect soon after, or not at all. Never rejects.
 */
export async function requestCancel(client: ClientBase, clock: Clock): Promise<void> {
  const { host, port, processID, secretKey } = client as unknown as Address;
  if (!host || !port || processID == null || secretKey == null) return;
  const request = Buffer.alloc(16);
  for (const [index, value] of [16, CANCEL_REQUEST, processID, secretKey].entries()) {
    request.writeInt32BE(value | 0, index * 4);
  }
  const socket = host.startsWith('/') ? connect(`${host}/.s.PGSQL.${port}`) : connect(port, host);
  // The server answers by closing, once it has passed the request on.
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  socket.on('error', () => undefined);
  socket.resume();
  socket.write(request);
  await settlesWithin(clock, closed, PATIENCE);
  socket.destroy();
}
