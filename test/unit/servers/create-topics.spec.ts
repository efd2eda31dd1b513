import type { Admin, ITopicConfig } from 'kafkajs';
import { createTopics } from '../../../sample/servers/create-topics.js';

const leaders = (name: string, ...nodes: number[]) => ({
  topics: [{ name, partitions: nodes.map((leader, partitionId) => ({ leader, partitionId })) }],
});

/** Answers each call with the next of its answers, and goes on with the last. */
function inTurn<Answer>(...answers: (Answer | Error)[]): () => Promise<Answer> {
  let calls = 0;
  return () => {
    const answer = answers[Math.min(calls++, answers.length - 1)]!;
    return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer);
  };
}

describe('createTopics', () => {
  const topics: ITopicConfig[] = [{ topic: 'orders', numPartitions: 2 }];
  const admin = (create: () => Promise<unknown>, metadata: () => Promise<unknown>) =>
    ({ createTopics: create, fetchTopicMetadata: metadata }) as unknown as Admin;

  it('waits for a broker that does not know the topic yet, and for the leaders of all its partitions', async () => {
    const answers = [
      new Error('This server does not host this topic-partition'),
      leaders('orders', 1),
      leaders('orders', 1, -1),
      leaders('orders', 1, 1),
    ];
    const metadata = inTurn(...answers);
    let asked = 0;
    const counted = () => (asked++, metadata());

    await createTopics(admin(inTurn<unknown>(true), counted), topics);

    expect(asked).toBe(answers.length);
  });

  it('goes on where a topic is there already, and tries again what was refused', async () => {
    const create = inTurn<unknown>(new Error('This is not the correct controller'), false);
    await createTopics(admin(create, inTurn<unknown>(leaders('orders', 1, 1))), topics);
  });

  it('says in the end what is missing', async () => {
    const never = admin(inTurn<unknown>(true), inTurn<unknown>(leaders('orders', 1, -1)));
    await expect(createTopics(never, topics, 10)).rejects.toThrow(
      'orders could not be created within 0.01 s (orders: 1 of 2 partitions have a leader)',
    );
  });
});
