import type { DeclareTest, TestFramework } from './contract.js';
import { adminContract } from './driver-admin.contract.js';
import { assignerContract } from './driver-assigner.contract.js';
import { groupContract } from './driver-group.contract.js';
import { DriverKit, type DriverUnderTest } from './driver-kit.js';
import { lifecycleContract } from './driver-lifecycle.contract.js';
import { membershipContract } from './driver-membership.contract.js';
import { positionContract } from './driver-position.contract.js';
import { producerContract } from './driver-producer.contract.js';
import { readerContract } from './driver-reader.contract.js';
import { recordContract } from './driver-record.contract.js';
import { topicContract } from './driver-topic.contract.js';

/**
 * Declares the tests that every `KafkaDriver` has to pass, under a `describe` with `name`. `setup` is called for each
 * test. Tests wait for conditions and take unique topics and groups, so that a cluster may be shared; some take ten
 * seconds and more on a real one: allow sixty.
 *
 * @example driverContract('my driver', () => Promise.resolve({ driver, dispose }), { describe, it });
 */
export function driverContract(
  name: string,
  setup: () => Promise<DriverUnderTest>,
  { describe, it }: TestFramework,
): void {
  const declare: DeclareTest<DriverKit> = (title, body) => {
    it(title, async () => DriverKit.use(await setup(), body));
  };
  const sections: Record<string, (test: DeclareTest<DriverKit>) => void> = {
    records: recordContract,
    lifecycle: lifecycleContract,
    positions: positionContract,
    groups: groupContract,
    membership: membershipContract,
    topics: topicContract,
    assigners: assignerContract,
    readers: readerContract,
    producer: producerContract,
    admin: adminContract,
  };
  describe(name, () => {
    for (const [title, section] of Object.entries(sections)) describe(title, () => section(declare));
  });
}
