import type { Attempt, Delivery } from '../consumption/attempt.js';
import { deadLetterRecord } from '../consumption/dead-letter.js';
import type { AfterCommit, Ending } from '../consumption/group.js';
import type { DriverProducer } from '../driver/driver.js';
import type { OutgoingRecord } from '../messages/record.js';
import { produceLetter } from './produce-letter.js';
import type { ResolvedOptions } from './resolve-options.js';

/** The dead letters of one consumer group, as the option `deadLetter` wants them. */
export class DeadLetters {
  constructor(
    private readonly options: ResolvedOptions,
    private readonly group: string,
    private readonly producer: DriverProducer,
  ) {}

  get isOn(): boolean {
    return this.options.deadLetterTopic !== undefined;
  }

  /** The record for the dead-letter topic; `undefined` if none are published, and for what comes from that topic. */
  readonly recordOf = (delivery: Delivery, ending: Ending, key?: string): OutgoingRecord | undefined => {
    const { deadLetterTopic, clock } = this.options;
    const topic = deadLetterTopic?.(delivery.record);
    // A letter whose handler failed as well is where it belongs: published again, it would come back for ever.
    if (topic === undefined || topic === delivery.record.topic) return undefined;
    return deadLetterRecord(topic, delivery, ending, {
      group: this.group,
      key,
      now: clock.now(),
    });
  };

  /** Publishes it at once: for handlers that nothing durable is enlisted for. Resolves when the broker has it. */
  readonly publish = async ({ delivery }: Attempt, ending: Ending): Promise<AfterCommit | undefined> => {
    const record = ending.state === 'dead' ? this.recordOf(delivery, ending) : undefined;
    if (record) await produceLetter(this.producer, record);
    return undefined;
  };
}
