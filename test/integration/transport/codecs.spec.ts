import { Controller } from '@nestjs/common';
import { EventPattern, Payload } from '@nestjs/microservices';
import kafkajs from 'kafkajs';
import { KafkaApps } from '../../support/kafka-app.js';
import { CODECS, type StoredCodec } from '../../support/stored-codecs.js';
import { eventually } from '../../support/eventually.js';

const { CompressionCodecs, CompressionTypes } = kafkajs;
const codecs = CompressionCodecs as unknown as Record<number, (() => StoredCodec) | undefined>;

describe.each([
  ['Snappy', 'kafkajs-snappy'],
  ['LZ4', 'kafkajs-lz4'],
  ['ZSTD', '@kafkajs/zstd'],
] as const)('batches compressed by %s', (name, packageName) => {
  const apps = new KafkaApps();
  const type = CompressionTypes[name];
  const without = codecs[type];

  beforeAll(() => apps.connect());
  afterEach(() => (codecs[type] = without));
  afterAll(() => apps.dispose());

  it('are written and read once a codec is registered; until then the error names the package', async () => {
    const topic = await apps.topic('codec');
    const seen: string[] = [];

    @Controller()
    class Handlers {
      @EventPattern<string>(topic)
      one(@Payload() id: string) {
        seen.push(id);
      }
    }
    const producer = apps.driver.createProducer({ compression: type });
    await producer.connect();
    const record = { topic, key: null, value: Buffer.from('compressed'), headers: [] };
    await expect(producer.send(record)).rejects.toThrow(packageName);
    codecs[type] = () => CODECS[name];
    await producer.send(record);
    await producer.disconnect();
    codecs[type] = without;

    const { group, log } = await apps.start({ controllers: [Handlers] });
    await eventually(() => log.matching(packageName).length > 0);
    expect(seen).toEqual([]);
    expect(await apps.committed(group, topic)).toBeLessThanOrEqual(0);

    codecs[type] = () => CODECS[name];
    await apps.consumed(group, topic, 1);
    expect(seen).toEqual(['compressed']);
  });
});
