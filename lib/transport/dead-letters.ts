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

  /** The record for the dead-letter topic; `undefined` if none are published. */
  readonly recordOf = (delivery: Delivery, ending: Ending, key?: string): OutgoingRecord | undefined => {
    const { deadLetterTopic, clock } = this.options;
    if (!deadLetterTopic) return undefined;
    return deadLetterRecord(deadLetterTopic(delivery.record), delivery, ending, {
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
