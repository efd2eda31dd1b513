import { setTimeout as sleep } from 'node:timers/promises';
import type { Bed, Place } from './bed.js';

const everyMs = 100;

/** A little load that goes on: a record for each partition, ten times a second. */
export class Trickle {
  private sent = 0;
  private stopped = false;
  private readonly running: Promise<void>;

  constructor(
    private readonly bed: Bed,
    private readonly place: Place,
    private readonly partitions: number,
  ) {
    this.running = this.run();
    this.running.catch(() => undefined); // reported by stop()
  }

  /** Resolves with the number of orders that were sent, numbered from 1. Idempotent. */
  async stop(): Promise<number> {
    this.stopped = true;
    await this.running;
    return this.sent;
  }

  private async run(): Promise<void> {
    while (!this.stopped) {
      const messages = Array.from({ length: this.partitions }, (_, index) =>
        this.bed.message(this.sent + 1 + index, this.partitions),
      );
      await this.bed.producer.send({ topic: this.place.topic, messages });
      this.sent += this.partitions;
      await sleep(everyMs);
    }
  }
}
