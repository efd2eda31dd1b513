import { ClientKafkaProxy, KafkaTransportError } from 'nestjs-durable-kafka';
import type { InMemoryKafka } from 'nestjs-durable-kafka/testing';
import type { Settlement } from './evidence.js';
import type { PlannedMessage, PlannedRecord } from './plan.js';
import type { SimulatedProcess } from './scheduler.js';

/** Longer than any run: a request that times out is a request that was forgotten. */
const REQUEST_TIMEOUT = 3_600_000;

type Outcome = Settlement['outcomes'][number];

/** A process that sends requests and waits for their replies. Nothing happens to it but what happens to its broker. */
export class Caller {
  readonly settlements: { readonly n: number; readonly outcomes: Outcome[] }[] = [];
  private readonly client: ClientKafkaProxy;

  constructor(
    process: SimulatedProcess,
    kafka: InMemoryKafka,
    private readonly onOutcome: (n: number, outcome: Outcome) => void,
  ) {
    const clock = process.clock();
    this.client = new ClientKafkaProxy({
      driver: kafka.process(clock),
      clock,
      consumer: { groupId: 'callers' },
      requestTimeout: REQUEST_TIMEOUT,
    });
    this.client.subscribeToResponseOf('requests');
  }

  send({ n, recordKey: key }: PlannedMessage, { partition, variant }: PlannedRecord): void {
    const outcomes: Outcome[] = [];
    this.settlements.push({ n, outcomes });
    const settle = (outcome: Outcome) => {
      outcomes.push(outcome);
      this.onOutcome(n, outcome);
    };
    this.client
      .send('requests', { key, value: { n, variant }, headers: { 'idempotency-key': `k-${n}` }, partition })
      .subscribe({
        next: (reply: unknown) => settle({ kind: 'reply', content: JSON.stringify(reply) }),
        error: (error: unknown) => settle(failed(error)),
      });
  }

  get waiting(): number {
    return this.settlements.filter(({ outcomes }) => outcomes.length === 0).length;
  }
}

function failed(error: unknown): Outcome {
  if (error instanceof KafkaTransportError) {
    return { kind: 'trouble', content: `${error.code}: ${error.message}` };
  }
  return { kind: 'error', content: error instanceof Error ? error.message : JSON.stringify(error) };
}
