import { Controller } from '@nestjs/common';
import { EventPattern, Payload } from '@nestjs/microservices';
import kafkajs from 'kafkajs';
import { DurableModule, KafkaTerminalException, type KafkaTransportOptions } from '../../../lib/index.js';
import { eventually } from '../../support/eventually.js';
import { KafkaApps } from '../../support/kafka-app.js';
import { databaseUrl } from '../../support/ledger-schema.js';

const LARGE = 'x'.repeat(5_000);

describe.each(['not durable', 'durable'] as const)('a dead letter of a handler that is %s', (kind) => {
  let apps: KafkaApps;

  beforeEach(async () => {
    apps = await new KafkaApps().connect();
  });

  afterEach(() => apps.dispose());

  async function start(server: KafkaTransportOptions) {
    const seen: string[] = [];
    const topic = await apps.topic('unwanted');

    @Controller()
    class Handlers {
      @EventPattern<string>(topic)
      run(@Payload() text: string): void {
        seen.push(text);
        if (text === LARGE) throw new KafkaTerminalException('not this one', 'too-long');
      }
    }
    const durable = DurableModule.forRoot({ connection: databaseUrl(), schema: apps.schema() });
    const open = async () => {
      const { group, log } = await apps.start({
        controllers: [Handlers],
        imports: kind === 'durable' ? [durable] : [],
        server,
      });
      return { group, log };
    };
    return { topic, seen, open };
  }

  /** Its record is held, whatever is behind it, until somebody mends the topic. */
  async function expectHeld(
    server: KafkaTransportOptions,
    why: RegExp,
    mend: (letters: string) => Promise<void>,
    prepare: (letters: string) => Promise<void> = () => Promise.resolve(),
  ): Promise<void> {
    const { topic, seen, open } = await start(server);
    const letters = `${topic}.dlt`;
    await prepare(letters);
    await apps.emit(topic, 'good', LARGE, 'behind');
    const { group, log } = await open();
    await eventually(() => log.lines.some((line) => line.startsWith('warn') && why.test(line)));
    expect(log.lines.filter((line) => line.includes(LARGE))).toEqual([]);
    await apps.consumed(group, topic, 1);
    expect(await apps.read(letters)).toEqual([]);
    await mend(letters);
    await apps.consumed(group, topic, 3);
    const [letter, ...more] = await apps.read(letters);
    expect(more).toEqual([]);
    expect(String(letter!.value)).toBe(LARGE);
    expect(seen.filter((text) => text === 'behind')).toHaveLength(1);
  }

  it('that is too large for its topic holds the offset, says why, and goes on when there is room', () =>
    expectHeld(
      { deadLetter: true },
      /MESSAGE_TOO_LARGE/,
      async (letters) => {
        const admin = apps.kafka.admin();
        await admin.connect();
        await admin.alterConfigs({
          validateOnly: false,
          resources: [
            {
              type: kafkajs.ConfigResourceTypes.TOPIC,
              name: letters,
              configEntries: [{ name: 'max.message.bytes', value: '1000000' }],
            },
          ],
        });
        await admin.disconnect();
      },
      (letters) => apps.create([letters], { config: { 'max.message.bytes': '3000' } }),
    ));

  it('whose topic does not exist holds the offset, says why, and goes on when it does', () =>
    expectHeld(
      { deadLetter: true, provision: false, producer: { allowAutoTopicCreation: false } },
      /does not exist|not host this topic-partition/i,
      (letters) => apps.create([letters]),
    ));
});
