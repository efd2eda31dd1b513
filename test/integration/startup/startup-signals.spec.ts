import { createServer, type AddressInfo, type Socket } from 'node:net';
import { BrokerFixture } from '../../support/broker-fixture.js';
import { eventually } from '../../support/eventually.js';
import type { Program } from '../../support/program.js';
import { startService } from './start-service.js';

const LONG = 60_000;

/** SIGTERM to a service that has not come to its broker, which it would go on trying for hours. */
describe('A service that is told to end while it starts', () => {
  const fixture = new BrokerFixture();
  const sockets: Socket[] = [];
  /** Takes connections, and answers nothing. */
  const silent = createServer((socket) => sockets.push(socket.on('error', () => undefined).resume()));
  const started: Program[] = [];

  beforeAll(async () => {
    await fixture.connect();
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  }, LONG);

  afterAll(async () => {
    await Promise.all(started.map((service) => service.close()));
    for (const socket of sockets) socket.destroy();
    silent.close();
    await fixture.dispose();
  }, LONG);

  async function start(main: 'floating' | 'own-handler', address: string): Promise<Program> {
    const service = await startService(fixture, 'broker unreachable for long', main, {
      addresses: [address],
    });
    started.push(service);
    return service;
  }

  const refused = async (main: 'floating' | 'own-handler') => {
    const service = await start(main, '127.0.0.1:1');
    await service.printed('ECONNREFUSED');
    return service;
  };

  const unanswered = async (main: 'floating' | 'own-handler') => {
    const before = sockets.length;
    const service = await start(main, `127.0.0.1:${(silent.address() as AddressInfo).port}`);
    await eventually(() => sockets.length > before);
    return service;
  };

  describe.each([
    ['refuses connections', refused],
    ['is silent', unanswered],
  ])('by a broker that %s', (_name, startAt) => {
    it(
      "ends by the signal, once Nest's shutdown hooks are done",
      async () => {
        const service = await startAt('floating');
        service.kill('SIGTERM');
        await service.end(30_000);
        expect(service).toMatchObject({ code: null, signal: 'SIGTERM' });
        expectOrderlyEnd(service);
        expect(service.output).toContain('HOOKS DONE SIGTERM');
      },
      LONG,
    );

    it(
      'ends as its own handler of the signal says',
      async () => {
        const service = await startAt('own-handler');
        service.kill('SIGTERM');
        await service.end(30_000);
        expect(service).toMatchObject({ code: 0, signal: null });
        expectOrderlyEnd(service);
        expect(service.output).toContain('HOOKS DONE');
      },
      LONG,
    );
  });
});

/** Neither an error that nobody caught, nor a start that went on meanwhile. */
function expectOrderlyEnd({ output }: Program): void {
  expect(output).not.toContain('KT_CLOSED');
  expect(output).not.toContain('LISTENING');
  expect(output).not.toContain('    at ');
}
