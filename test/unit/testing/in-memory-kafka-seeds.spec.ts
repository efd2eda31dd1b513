import type { KafkaRecord } from '../../../lib/messages/record.js';
import { RecordingConsumer } from '../../../lib/testing/contract/recording-consumer.js';
import { InMemoryKafka } from '../../../lib/testing/in-memory-kafka/in-memory-kafka.js';
import { SeededClock } from '../../support/seeded-clock.js';

const PARTITIONS = 4;
const RECORDS = 120;
const SEEDS = 60;

interface Run {
  /** Everything that happened, in order. */
  readonly trace: string[];
  readonly seen: Set<string>;
  readonly deliveries: number;
  readonly violations: string[];
}

/** A group whose members are started, stopped, crashed and expelled at random while records keep coming. */
async function simulate(seed: number): Promise<Run> {
  const clock = new SeededClock(seed);
  const kafka = new InMemoryKafka({ clock });
  kafka.createTopic('orders', PARTITIONS);
  const trace: string[] = [];
  const seen = new Set<string>();
  const violations: string[] = [];
  const all: RecordingConsumer[] = [];
  let alive: RecordingConsumer[] = [];
  let deliveries = 0;
  const committed = () => kafka.committed('group', 'orders').map(({ offset }) => offset);
  let before = committed();

  // What is committed has been handed over, by somebody; and with commits of a current generation only, it never falls.
  const check = () => {
    const now = committed();
    now.forEach((offset, partition) => {
      if (offset < before[partition]!)
        violations.push(`partition ${partition} fell from ${before[partition]} to ${offset}`);
      for (let each = 0n; each < offset; each++) {
        if (!seen.has(`${partition}/${each}`)) violations.push(`${partition}/${each} was committed unseen`);
      }
    });
    before = now;
  };

  const add = () => {
    const name = `member ${all.length}`;
    const driver = kafka.createConsumer({
      ...{ groupId: 'group', topics: ['orders'], fromBeginning: true },
      ...{ sessionTimeout: 10_000, rebalanceTimeout: 15_000, maxBytesPerPartition: 400 },
    });
    const commit = (consumer: RecordingConsumer, partitions: Parameters<RecordingConsumer['progress']>[0]) =>
      consumer.driver.commit(consumer.progress(partitions)).then(check, () => {});
    const consumer = new RecordingConsumer(driver, {
      onAssigned: (partitions) =>
        void trace.push(`${name} +${partitions.map(({ partition }) => partition).join()}`),
      onRevoked: async (partitions, reason, self) => {
        trace.push(`${name} -${partitions.map(({ partition }) => partition).join()} ${reason}`);
        if (reason === 'revoked') await commit(self, partitions);
      },
      onRecords: (partition, records: readonly KafkaRecord[], self) => {
        deliveries += records.length;
        for (const record of records) seen.add(`${record.partition}/${record.offset}`);
        trace.push(`${name} ${partition.partition}: ${records.map(({ offset }) => offset).join()}`);
        if (clock.random() < 0.5) void commit(self, [partition]);
      },
    });
    all.push(consumer);
    alive.push(consumer);
    void consumer.start().catch(() => {});
  };

  add();
  let produced = 0;
  while (produced < RECORDS) {
    const victim = alive[clock.pick(alive.length)];
    const dice = clock.random();
    if (dice < 0.6) kafka.produce('orders', { value: `v-${produced}`, partition: produced++ % PARTITIONS });
    else if (dice < 0.75 && alive.length < 4) add();
    else if (dice < 0.8 && victim) {
      alive = alive.filter((each) => each !== victim);
      void victim.stop();
    } else if (dice < 0.85 && victim) {
      alive = alive.filter((each) => each !== victim);
      kafka.faults.crash(victim.driver);
    } else if (dice < 0.9 && victim?.driver.membership) kafka.faults.expel(victim.driver.membership.memberId);
    else if (dice < 0.92) {
      kafka.faults.pauseBroker();
      clock.setTimeout(() => kafka.faults.resumeBroker(), clock.pick(20_000));
    } else await clock.run(clock.pick(3000));
  }
  kafka.faults.resumeBroker();
  if (alive.length === 0) add();
  await clock.until(() => seen.size === RECORDS);
  const { memberIds } = kafka.group('group');
  await clock.until(
    () => alive.flatMap(({ owned }) => owned).length === PARTITIONS || memberIds.length > alive.length,
  );
  for (const consumer of all) violations.push(...consumer.violations);
  return { trace, seen, deliveries, violations };
}

describe('InMemoryKafka under a seeded clock', () => {
  it('the same seed gives the same run, another seed another', async () => {
    const [one, again, other] = [await simulate(7), await simulate(7), await simulate(8)];
    expect(one.trace.length).toBeGreaterThan(20);
    expect(again.trace).toEqual(one.trace);
    expect(other.trace).not.toEqual(one.trace);
  });

  it(`hands every record over whatever happens to members, in ${SEEDS} interleavings`, async () => {
    let deliveries = 0;
    for (let seed = 1; seed <= SEEDS; seed++) {
      const run = await simulate(seed);
      expect({ seed, violations: run.violations }).toEqual({ seed, violations: [] });
      deliveries += run.deliveries;
    }
    // Crashes and expulsions do lead to redelivery: if none happened, nothing was tested.
    expect(deliveries).toBeGreaterThan(SEEDS * RECORDS);
  });
});
