import { Kafka, logLevel } from 'kafkajs';
import { Connections } from '../../lib/driver/kafkajs/connections.js';
import { FIND_COORDINATOR } from '../../lib/driver/kafkajs/group-requests.js';
import {
  OFFSET_COMMIT,
  OFFSET_FETCH,
  type CommittedPartition,
} from '../../lib/driver/kafkajs/offset-requests.js';
import { systemClock } from '../../lib/runtime/clock.js';
import { brokers } from './broker-fixture.js';

/** What a group has committed, with its metadata, which no admin client lets one set. */
export class GroupOffsets {
  private readonly connections = new Connections(
    new Kafka({ clientId: 'group-offsets', brokers: brokers(), logLevel: logLevel.NOTHING }),
    undefined,
    systemClock,
  );

  async connect(): Promise<void> {
    await this.connections.connect();
    await this.connections.metadata([]);
  }

  disconnect(): Promise<void> {
    return this.connections.disconnect();
  }

  /** Offset -1 for none. */
  async read(groupId: string, topic: string, partition = 0): Promise<CommittedPartition> {
    const coordinator = await this.connections.sendToAny(FIND_COORDINATOR, { groupId });
    const partitions = [{ topic, partition }];
    const input = { groupId, partitions };
    const [position] = await this.connections.send(coordinator, 'coordinator', OFFSET_FETCH, input);
    return position!;
  }

  /** Of a group without members. */
  async write(groupId: string, position: CommittedPartition): Promise<void> {
    const coordinator = await this.connections.sendToAny(FIND_COORDINATOR, { groupId });
    const input = { groupId, generationId: -1, memberId: '', offsets: [position] };
    const [answer] = await this.connections.send(coordinator, 'coordinator', OFFSET_COMMIT, input);
    if (answer?.errorCode !== 0) throw new Error(`The broker refused an offset: ${answer?.errorCode}`);
  }
}
