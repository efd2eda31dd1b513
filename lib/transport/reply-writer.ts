import type { Attempt } from '../consumption/attempt.js';
import type { ReplyPacket } from '../messages/packets.js';
import type { EncodedReply } from '../messages/reply.js';
import type { ReplyEncoder } from './reply-encoder.js';

/**
 * Turns a handler's values into replies, in order. A value that is the last one says so in its own record, as in Nest:
 * so each value waits for the end of the current turn before it goes out.
 */
export class ReplyWriter {
  private held: { response: unknown } | undefined;
  private count = 0;
  private tail: Promise<void> = Promise.resolve();

  constructor(
    private readonly attempt: Attempt,
    private readonly encode: ReplyEncoder,
  ) {}

  value(response: unknown): this {
    this.flush(false);
    const held = (this.held = { response });
    void Promise.resolve().then(() => {
      if (this.held === held) this.flush(false);
    });
    return this;
  }

  /** No value comes any more. Resolves when all replies are given to the attempt. */
  end(): Promise<void> {
    if (this.held) this.flush(true);
    else this.write({ isDisposed: true }, this.count);
    return this.tail;
  }

  error(err: unknown): Promise<void> {
    this.flush(false);
    this.write({ err, isDisposed: true }, this.count);
    return this.tail;
  }

  private flush(last: boolean): void {
    const { held } = this;
    if (!held) return;
    this.held = undefined;
    const index = this.count++;
    this.write(last ? { ...held, isDisposed: true } : held, last && index === 0 ? undefined : index);
  }

  private write(packet: ReplyPacket, index: number | undefined): void {
    let encoded: EncodedReply | Promise<EncodedReply>;
    try {
      encoded = this.encode(packet, index);
    } catch (error) {
      encoded = this.encode({ err: error, isDisposed: true }, index);
    }
    this.tail = this.tail
      .then(() => encoded)
      .catch((error: unknown) => this.encode({ err: error, isDisposed: true }, index))
      .then((reply) => this.attempt.reply(reply));
  }
}
