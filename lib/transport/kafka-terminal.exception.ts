import { RpcException } from '@nestjs/microservices';

/**
 * Thrown by a handler that knows that trying again is useless: an event goes to the dead letters at once, a request is
 * answered with the message.
 */
export class KafkaTerminalException extends RpcException {
  /** @param reason what the dead letter's `dlt-reason` says. */
  constructor(
    error: string | object,
    readonly reason: string = 'terminal',
  ) {
    super(error);
    this.name = new.target.name;
  }

  // As itself, not as the bare error: the transport must still recognize it behind Nest's exception filters.
  override getError(): string | object {
    return this;
  }

  toJSON(): { status: string; message: string } {
    return { status: 'error', message: this.message };
  }
}
