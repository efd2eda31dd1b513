import kafkajs from 'kafkajs';
import { brokers } from '../support/broker-fixture.js';
import { Program } from '../support/program.js';

/** Compiled by `npm run build`. */
const program = (path: string) => new URL(`../../sample/dist/${path}.js`, import.meta.url);

describe('samples', () => {
  const admin = new kafkajs.Kafka({ brokers: brokers(), logLevel: kafkajs.logLevel.NOTHING }).admin();

  beforeAll(() => admin.connect());
  afterAll(() => admin.disconnect());

  it.each([
    ['01-events', 'All 3 orders are shipped, turnover 60.', 'order.placed', 'sample-events'],
    ['02-request-reply', 'Got 105 replies.', 'math.sum', 'sample-math'],
    [
      '03-exactly-once',
      '20 messages, 10 orders booked, 70 of 100 pieces left.',
      'article.bought',
      'sample-stock',
    ],
    [
      '04-crash-proof',
      '300 transfers, each booked once, by a service that was killed 3 times.',
      'transfer.ordered',
      'sample-crash',
    ],
    [
      '05-outbox',
      'Placed 3 orders and shipped 3; nobody heard of the refused one.',
      'order.placed',
      'sample-shop',
    ],
  ])('%s does what it says, and ends', async (name, lastLine, topic, group) => {
    const before = new Set(await admin.listTopics());
    const sample = new Program(program(`${name}/main`), { KAFKA_BROKERS: brokers().join(',') });
    try {
      await sample.end(60_000);
      expect([sample.code, sample.lines.at(-1)]).toEqual([0, lastLine]);
    } finally {
      const own = (await admin.listTopics()).filter(
        (each) => !before.has(each) && each.startsWith('sample.'),
      );
      const run = own.find((each) => each.endsWith(`.${topic}`))?.split('.')[1];
      await admin.deleteTopics({ topics: own.filter((each) => each.startsWith(`sample.${run}.`)) });
      const groups = ['-server', '-client'].map((postfix) => `${group}-${run}${postfix}`);
      for (const groupId of groups) await admin.deleteGroups([groupId]).catch(() => undefined);
    }
  });

  it('06-testing-your-handlers passes, without any server', async () => {
    const servers = { KAFKA_BROKERS: '', DATABASE_URL: '' };
    const sample = await new Program(program('06-testing-your-handlers/invoices.test'), servers).end(40_000);
    expect([sample.code, sample.lines.filter((line) => /(pass|fail) \d+$/.test(line))]).toEqual([
      0,
      [expect.stringMatching(/pass 4$/), expect.stringMatching(/fail 0$/)],
    ]);
  });
});
