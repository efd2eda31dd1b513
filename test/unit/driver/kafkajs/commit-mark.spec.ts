import { commitMark, commitOrigin } from '../../../../lib/driver/kafkajs/commit-mark.js';
import { NO_TOPIC_ID } from '../../../../lib/driver/kafkajs/wire.js';

const topicId = '0e5f8a3c-54a1-4d5e-9c3b-0123456789ab';
const clusterId = 'MkU3OEVBNTcwNTJENDM2Qg';

describe('commitMark', () => {
  it('is read back as what it was made from', () => {
    for (const cluster of [clusterId, 'redpanda.8f3c', 'x'.repeat(128)]) {
      const mark = commitMark({ clusterId: cluster, topicId });
      expect(commitOrigin(mark)).toEqual({ clusterId: cluster, topicId });
    }
  });

  it('does not exist without ids, nor for one of a form that could not be read back', () => {
    expect(commitMark({ topicId })).toBeUndefined();
    expect(commitMark({ clusterId })).toBeUndefined();
    expect(commitMark({ clusterId, topicId: NO_TOPIC_ID })).toBeUndefined();
    expect(commitMark({ clusterId, topicId: 'topic-7' })).toBeUndefined();
    for (const cluster of ['', 'with space', 'line\nbreak', 'x'.repeat(129)]) {
      expect(commitMark({ clusterId: cluster, topicId })).toBeUndefined();
    }
  });
});

describe('commitOrigin', () => {
  it('is unknown for what somebody else wrote', () => {
    const mark = commitMark({ clusterId, topicId })!;
    for (const foreign of [
      null,
      undefined,
      '',
      'checkpoint 7',
      topicId,
      `${mark} `,
      ` ${mark}`,
      `${mark}\n`,
      `note: ${mark}`,
      mark.toUpperCase(),
      mark.slice(0, -clusterId.length),
      mark.replace('-', ''),
      mark.repeat(500),
      '\u0000'.repeat(4096),
    ]) {
      expect(commitOrigin(foreign)).toBeUndefined();
    }
  });
});
