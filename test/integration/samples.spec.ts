import kafkajs from 'kafkajs';
import { brokers } from '../support/broker-fixture.js';
import { Program } from '../support/program.js';

/** Compiled by `npm run build`. */
const program = (name: string) => new URL(`../../sample/dist/${name}/main.js`, import.meta.url);

describe('samples', () => {
  const admin = new kafkajs.Kafka({ brokers: brokers(), logLevel: kafkajs.logLevel.NOTHING }).admin();

  beforeAll(() => admin.connect());
  afterAll(() => admin.disconnect());

  it.each([
    [
      '01-events',
      'All 3 orders are shipped, turnover 60.',
      /^sample\.(\w+)\.order\.placed$/,
      'sample-events',
    ],
    ['02-request-reply', 'Got 105 replies.', /^sample\.(\w+)\.math\.sum$/, 'sample-math'],
  ])('%s does what it says, and ends', async (name, lastLine, ownTopic, group) => {
    const before = new Set(await admin.listTopics());
    const sample = new Program(program(name), { KAFKA_BROKERS: brokers().join(',') });
    try {
      await sample.end(40_000);
      expect([sample.code, sample.lines.at(-1)]).toEqual([0, lastLine]);
    } finally {
      const topics = await admin.listTopics();
      const run = topics.flatMap((topic) => (before.has(topic) ? [] : (ownTopic.exec(topic)?.[1] ?? [])))[0];
      await admin.deleteTopics({ topics: topics.filter((topic) => topic.startsWith(`sample.${run}.`)) });
      const groups = ['-server', '-client'].map((postfix) => `${group}-${run}${postfix}`);
      for (const groupId of groups) await admin.deleteGroups([groupId]).catch(() => undefined);
    }
  });
});
