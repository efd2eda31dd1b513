import type { DriverAdmin, KafkaDriver } from '../driver/driver.js';
import { describeError } from '../errors/describe-error.js';
import type { Clock, Timer } from '../runtime/clock.js';
import type { Log } from '../runtime/log.js';
import { settle } from '../runtime/settle.js';

/** After the start, ms: its first records are not to wait for this. */
const DELAY = 5_000;
const DAY = 24 * 3_600_000;

/**
 * Looks, once a start, whether topics keep records for longer than their idempotency keys are remembered, and warns.
 * Without the right to read settings of topics, or a broker that answers, it says nothing.
 */
export class RetentionCheck {
  private timer: Timer | undefined;
  private admin: DriverAdmin | undefined;
  private working: Promise<void> | undefined;

  /**
   * @param memory milliseconds for which keys are remembered; `undefined`: nobody does.
   * @param topics whose records are handled by their keys, asked when it looks.
   */
  constructor(
    private readonly driver: KafkaDriver,
    private readonly memory: number | undefined,
    private readonly topics: () => readonly string[],
    private readonly clock: Clock,
    private readonly log: Log,
  ) {}

  start(): void {
    const { memory } = this;
    if (memory === undefined || memory === Infinity) return;
    this.timer = this.clock.setBackgroundTimeout(() => {
      this.working = this.look(memory);
    }, DELAY);
  }

  /** Ends a look that is under way. Idempotent; tolerates never-started. */
  async stop(): Promise<void> {
    this.clock.clearTimeout(this.timer);
    if (this.admin) await settle(this.admin.disconnect());
    await this.working;
  }

  private async look(memory: number): Promise<void> {
    const topics = this.topics();
    if (topics.length === 0) return;
    const admin = (this.admin = this.driver.createAdmin());
    try {
      await admin.connect();
      for (const [topic, kept] of await admin.retentions(topics)) {
        if (kept > memory) this.log.warn(warning(topic, kept, memory));
      }
    } catch (error) {
      this.log.debug(`How long topics keep records is not known: ${describeError(error)}`);
    } finally {
      await settle(admin.disconnect());
      this.admin = undefined;
    }
  }
}

function warning(topic: string, kept: number, memory: number): string {
  const remedy = kept === Infinity ? 'Infinity' : `${kept}`;
  return (
    `Topic "${topic}" keeps records ${span(kept)}, but idempotency keys are remembered ${span(memory)} only (option ` +
    `"retention" of DurableModule): what comes again under its key after that, from a copy of the topic or from a ` +
    `producer that goes by it, is handled again. Set "retention" to ${remedy}, or retention.ms of the topic to ${memory} at most.`
  );
}

function span(milliseconds: number): string {
  if (milliseconds === Infinity) return 'for ever';
  return milliseconds < DAY
    ? `for ${milliseconds} ms`
    : `for ${Number((milliseconds / DAY).toFixed(1))} days`;
}
