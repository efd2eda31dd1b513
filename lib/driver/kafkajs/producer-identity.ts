import { sleep, type Clock } from '../../runtime/clock.js';
import type { Log } from '../../runtime/log.js';
import type { Connections } from './connections.js';
import { INIT_PRODUCER_ID } from './produce-request.js';
import { ProtocolError, protocolType } from './protocol-error.js';
import { NO_PRODUCER, type ProducerIdentity } from './record-batch-encoder.js';

const INIT_ATTEMPTS = 50;
const INIT_WAIT = 200;

/** The producer id under which the broker recognises a repeated batch. */
export class ProducerIdentitySource {
  private identity: Promise<ProducerIdentity> | undefined;

  constructor(
    private enabled: boolean,
    private readonly connections: Connections,
    private readonly clock: Clock,
    private readonly log: Log,
  ) {}

  get isIdempotent(): boolean {
    return this.enabled;
  }

  /** `NO_PRODUCER` without idempotence. Rejects if no broker answers. */
  current(): Promise<ProducerIdentity> {
    if (!this.enabled) return Promise.resolve(NO_PRODUCER);
    this.identity ??= this.init().catch((error: unknown) => {
      this.identity = undefined;
      if (protocolType(error) !== 'CLUSTER_AUTHORIZATION_FAILED') throw error;
      this.log.warn(
        'This client may not produce idempotently (before Kafka 2.8 that takes the right IdempotentWrite on the cluster): ' +
          'a batch that is repeated after a lost answer may be stored twice. Set "producer.idempotent" to false to accept that.',
      );
      this.enabled = false;
      return NO_PRODUCER;
    });
    return this.identity;
  }

  /** The next call of `current` gets another id: all numbering starts again. */
  renew(): void {
    this.identity = undefined;
  }

  /** A broker that has just started is not ready to give ids out. */
  private async init(): Promise<ProducerIdentity> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.connections.sendToAny(INIT_PRODUCER_ID, {});
      } catch (error) {
        if (!(error instanceof ProtocolError && error.retryable) || attempt === INIT_ATTEMPTS) throw error;
        await sleep(this.clock, INIT_WAIT);
      }
    }
  }
}
