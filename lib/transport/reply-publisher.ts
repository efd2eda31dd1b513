import { setMaxListeners } from 'node:events';
import type { Delivery } from '../consumption/attempt.js';
import { PROBE_BACKOFF, retryDelay } from '../consumption/retry-policy.js';
import type { DriverProducer } from '../driver/driver.js';
import { describeError } from '../errors/describe-error.js';
import { isInfrastructureError } from '../errors/infrastructure.js';
import { KafkaTransportError } from '../errors/kafka-transport.error.js';
import {
  CORRELATION_ID_HEADER,
  REPLY_PARTITION_HEADER,
  REPLY_TOPIC_HEADER,
} from '../messages/nest-headers.js';
import { encodeReply, replyHeaders } from '../messages/packets.js';
import { headerValue, type KafkaRecord, type OutgoingRecord } from '../messages/record.js';
import type { EncodedReply } from '../messages/reply.js';
import { sleep, type Clock } from '../runtime/clock.js';
import type { Log } from '../runtime/log.js';

/** Where a request wants its reply. */
export interface ReplyAddress {
  readonly topic: string;
  readonly partition: number | undefined;
  readonly correlationId: Buffer;
}

/** The address in a record's headers; `undefined` for an event. */
export function replyAddress({ headers }: KafkaRecord): ReplyAddress | undefined {
  const correlationId = headerValue(headers, CORRELATION_ID_HEADER);
  const topic = headerValue(headers, REPLY_TOPIC_HEADER);
  if (!correlationId?.length || !topic?.length) return undefined;
  const text = headerValue(headers, REPLY_PARTITION_HEADER)?.toString('latin1') ?? '';
  return {
    topic: topic.toString('utf8'),
    partition: /^\d{1,9}$/.test(text) ? Number(text) : undefined,
    correlationId,
  };
}

/** Produces replies until the broker has them: a reply is lost only if nobody can ever take it. */
export class ReplyPublisher {
  private readonly closing = new AbortController();
  private waiting = 0;

  constructor(
    private readonly producer: DriverProducer,
    private readonly clock: Clock,
    private readonly log: Log,
    private readonly onTrouble: (error: unknown) => void,
  ) {
    // As many replies wait as requests were under way when the broker went.
    setMaxListeners(0, this.closing.signal);
  }

  /** See `ReplyPublisher` of the engine: resolves with `true` once acknowledged, never rejects. */
  readonly publish = async (delivery: Delivery, reply: EncodedReply): Promise<boolean> => {
    const address = replyAddress(delivery.record);
    if (!address) return true;
    try {
      await this.producer.send(replyRecord(address, reply));
      return true;
    } catch (error) {
      return this.recover(address, reply, error);
    }
  };

  close(): void {
    this.closing.abort();
  }

  private async recover(address: ReplyAddress, reply: EncodedReply, first: unknown): Promise<boolean> {
    let record = replyRecord(address, reply);
    let error = first;
    let replaced = false;
    for (let round = 1; !this.closing.signal.aborted; round++) {
      if (!isPassing(error)) {
        if (replaced) {
          this.log.error(
            `A reply to "${address.topic}" was given up, its requester will time out: ${describeError(error)}`,
          );
          return true;
        }
        // Too large, or a header that no broker takes: the requester is told so instead of nothing.
        replaced = true;
        record = replyRecord(address, await encodeReply({ err: errorPacket(error), isDisposed: true }));
      } else {
        // The first of them speaks for all that wait.
        if (this.waiting++ === 0 && round === 1)
          this.log.warn(`Replies to "${address.topic}" wait for the broker: ${describeError(error)}`);
        this.onTrouble(error);
        await sleep(this.clock, retryDelay(PROBE_BACKOFF, round, this.clock), this.closing.signal);
        this.waiting--;
      }
      try {
        await this.producer.send(record);
        return true;
      } catch (next) {
        error = next;
      }
    }
    return false;
  }
}

function replyRecord({ topic, partition, correlationId }: ReplyAddress, reply: EncodedReply): OutgoingRecord {
  return {
    topic,
    partition,
    key: reply.key,
    value: reply.value,
    headers: replyHeaders(reply, correlationId),
  };
}

function isPassing(error: unknown): boolean {
  return isInfrastructureError(error) || (error instanceof KafkaTransportError && error.retryable);
}

function errorPacket(error: unknown): object {
  return { status: 'error', message: describeError(error) };
}
