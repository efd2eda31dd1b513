import { setTimeout as sleep } from 'node:timers/promises';
import { firstValueFrom, lastValueFrom } from 'rxjs';
import { ClientKafkaProxy, KafkaTransportError, ServerKafka } from '../../../lib/index.js';
import { ConnectionClosedError } from '../../../lib/errors/errors.js';
import { eventually } from '../../support/eventually.js';
import { KafkaApps } from '../../support/kafka-app.js';

/** Steps after which the other side is closed, from none at all to after it is up, in no order. */
const WAITS = [0, 320, 40, 700, 0, 110, 500, 15, 230, 60];

describe('Started and closed over and over, at any moment', () => {
  const apps = new KafkaApps();
  let topic: string;
  let events: string;
  let listening: ServerKafka;

  const newServer = (handle: (value: unknown) => Promise<unknown>) => {
    const server = apps.closing(new ServerKafka(apps.options(apps.group(), { shutdownTimeout: 500 })));
    server.addHandler(topic, handle);
    return server;
  };
  const listen = (server: ServerKafka) =>
    new Promise<unknown>((resolve) => void server.listen((error) => resolve(error)));

  beforeAll(async () => {
    await apps.connect();
    topic = await apps.topic('asked', { reply: true });
    events = await apps.topic('events');
    listening = newServer((value) => Promise.resolve(`re: ${String(value)}`));
    expect(await listen(listening)).toBeUndefined();
  });

  afterAll(() => apps.dispose());

  it('a server starts or says that it was closed, and works in the end', async () => {
    const values: unknown[] = [];
    const server = newServer((value) => Promise.resolve(values.push(value)));
    for (const wait of WAITS) {
      const started = listen(server);
      await sleep(wait);
      // Twice at once: whoever comes second waits for the same end.
      const closed = Promise.all([server.close(), server.close()]);
      // A start that comes before the end of the last life waits for it.
      const again = wait % 20 === 0 ? listen(server) : undefined;
      const told = await started;
      if (told !== undefined) expect(told).toBeInstanceOf(ConnectionClosedError);
      await closed;
      if (again) expect(await again).toBeUndefined();
      await server.close();
    }
    expect(await listen(server)).toBeUndefined();
    await apps.emit(topic, 'works');
    await eventually(() => values.includes('works'));
    await server.close();
  });

  it.each(['exclusive', 'shared'] as const)(
    'a client settles all that it was asked, and works in the end (%s)',
    async (replyPartition) => {
      const options = apps.options(apps.group(), { replyPartition, requestTimeout: 20_000 });
      const client = apps.closing(new ClientKafkaProxy(options));
      client.subscribeToResponseOf(topic);
      const errors: unknown[] = [];
      const asked: Promise<unknown>[] = [];
      const ask = (work: Promise<unknown>) => asked.push(work.catch((error: unknown) => errors.push(error)));
      for (const wait of WAITS) {
        for (let n = 0; n < 3; n++) {
          ask(firstValueFrom(client.send(topic, n)));
          ask(firstValueFrom(client.emit(events, n)));
          ask(lastValueFrom(client.emitBatch(events, { messages: ['a', 'b'] })));
        }
        await sleep(wait);
        const closed = client.close();
        if (wait % 20 === 0) ask(client.connect());
        await closed;
      }
      await Promise.all(asked);
      for (const error of errors) expect(error).toBeInstanceOf(KafkaTransportError);
      expect(await firstValueFrom(client.send(topic, 'end'))).toBe('re: end');
      expect(client.pendingRequests).toBe(0);
    },
  );
});
