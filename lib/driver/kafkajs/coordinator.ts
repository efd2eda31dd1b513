import { sleep, type Clock } from '../../runtime/clock.js';
import type { Log } from '../../runtime/log.js';
import type { Connections, Purpose } from './connections.js';
import type { NodeAddress } from './node-address.js';
import { text } from './errors.js';
import { FIND_COORDINATOR, LEAVE_GROUP } from './group-requests.js';
import { ProtocolError, protocolType } from './protocol-error.js';
import type { RequestDefinition } from './request.js';

const MOVED = new Set(['NOT_COORDINATOR', 'COORDINATOR_NOT_AVAILABLE', 'COORDINATOR_LOAD_IN_PROGRESS']);
const LEAVE_PATIENCE = 5_000;

/** The broker that keeps a group, looked up when first needed and again when it has moved or failed. */
export class Coordinator {
  private address: NodeAddress | undefined;

  constructor(
    private readonly connections: Connections,
    private readonly groupId: string,
    private readonly clock: Clock,
    private readonly log: Log,
  ) {}

  async send<I, O>(request: RequestDefinition<I, O>, input: I): Promise<O> {
    try {
      this.address ??= await this.connections.sendToAny(FIND_COORDINATOR, { groupId: this.groupId });
      return await this.connections.send(this.address, 'coordinator', request, input);
    } catch (error) {
      if (!(error instanceof ProtocolError) || hasMoved(error)) this.address = undefined;
      throw error;
    }
  }

  /** Tells the group that a member is gone; a coordinator that does not answer is not waited for longer than 5 s. */
  async leave(memberId: string, purpose: Purpose): Promise<void> {
    if (!this.address) return;
    const done = new AbortController();
    const left = this.connections
      .send(this.address, purpose, LEAVE_GROUP, { groupId: this.groupId, memberId })
      .catch((error: unknown) => this.log.debug(`Leaving "${this.groupId}": ${text(error)}`))
      .finally(() => done.abort());
    await Promise.race([left, sleep(this.clock, LEAVE_PATIENCE, done.signal)]);
  }
}

/** Whether the request was not carried out since another broker keeps the group now, or soon will. */
export function hasMoved(error: unknown): boolean {
  return MOVED.has(protocolType(error) ?? '');
}
