import { request, type RequestOptions } from 'node:http';
import { existsSync } from 'node:fs';
import { connect } from 'node:net';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { within } from './wait-for.js';

const probeMs = 1_000;

/** Whether a Docker engine is there, asked once. */
export class DockerEngine {
  private asked: Promise<string | undefined> | undefined;

  /** What keeps Docker from being used, in words. */
  missing(): Promise<string | undefined> {
    return (this.asked ??= probe());
  }
}

async function probe(): Promise<string | undefined> {
  const address = engineAddress();
  try {
    await within(probeMs, 'Docker', ping(address));
    return undefined;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    return `no Docker engine answers at ${address} (${code ?? message})`;
  }
}

/** `DOCKER_HOST`, else the sockets at which testcontainers looks too. */
function engineAddress(): string {
  const given = process.env['DOCKER_HOST'];
  if (given) return given;
  const system = '/var/run/docker.sock';
  const runtime = process.env['XDG_RUNTIME_DIR'] ?? `/run/user/${process.getuid?.() ?? 0}`;
  const candidates = [
    system,
    join(runtime, 'docker.sock'),
    join(homedir(), '.docker', 'run', 'docker.sock'),
    join(homedir(), '.docker', 'desktop', 'docker.sock'),
  ];
  return `unix://${candidates.find((path) => existsSync(path)) ?? system}`;
}

async function ping(address: string): Promise<void> {
  const { protocol, pathname, hostname, port } = new URL(address);
  if (protocol === 'unix:') return get({ socketPath: pathname });
  if (protocol !== 'tcp:' && protocol !== 'http:') throw new Error(`${protocol} is not supported here`);
  const engine = { host: hostname, port: Number(port || 2375) };
  // With TLS the answer needs certificates; that somebody listens is enough to let testcontainers try.
  return process.env['DOCKER_TLS_VERIFY'] ? listen(engine) : get(engine);
}

function get(where: RequestOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    const ping = request({ ...where, path: '/_ping', timeout: probeMs }, (response) => {
      response.resume();
      if (response.statusCode === 200) resolve();
      else reject(new Error(`status ${response.statusCode}`));
    });
    ping.once('timeout', () => ping.destroy(new Error('no answer within 1 s')));
    ping.once('error', reject);
    ping.end();
  });
}

function listen(where: { host: string; port: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ ...where, timeout: probeMs }, () => {
      socket.destroy();
      resolve();
    });
    socket.once('timeout', () => socket.destroy(new Error('no answer within 1 s')));
    socket.once('error', reject);
  });
}
