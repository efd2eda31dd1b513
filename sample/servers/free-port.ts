import { createServer } from 'node:net';

// Below the ranges from which Linux (32768) and macOS and Windows (49152) take the source ports of outgoing connections:
// a server that is stopped and started again would otherwise lose its port to one of its own clients trying to
// reconnect, which on the loopback interface can even connect to itself.
const lowest = 20_000;
const highest = 32_000;

const claimed = new Set<number>();

/** A port of 127.0.0.1 that is free now and is not handed out twice by this process. Another process may still win it. */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < 200; attempt++) {
    const port = lowest + Math.floor(Math.random() * (highest - lowest));
    if (claimed.has(port) || !(await canListen(port))) continue;
    claimed.add(port);
    return port;
  }
  throw new Error(`No free port on 127.0.0.1 between ${lowest} and ${highest} (200 tried).`);
}

function canListen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(false));
    probe.listen({ port, host: '127.0.0.1', exclusive: true }, () => probe.close(() => resolve(true)));
  });
}
