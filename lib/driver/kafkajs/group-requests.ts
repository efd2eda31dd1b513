import type { NodeAddress } from './node-address.js';
import { check } from './protocol-error.js';
import { defineRequest } from './request.js';

export interface GroupIdentity {
  readonly groupId: string;
  readonly generationId: number;
  readonly memberId: string;
}

export const FIND_COORDINATOR = defineRequest<{ groupId: string }, NodeAddress>({
  name: 'FindCoordinator',
  apiKey: 10,
  versions: [2, 1],
  write: (writer, { groupId }) => writer.string(groupId).int8(0),
  read(reader) {
    reader.int32(); // throttle_time_ms
    check(reader.int16(), 'FindCoordinator');
    reader.string(); // error_message
    return { nodeId: reader.int32(), host: reader.string() ?? '', port: reader.int32() };
  },
});

export interface JoinInput {
  readonly groupId: string;
  readonly memberId: string;
  readonly sessionTimeout: number;
  readonly rebalanceTimeout: number;
  readonly protocols: readonly { name: string; metadata: Buffer }[];
}

export interface Joined {
  /** Set when the broker only gave out a member id, to be joined with at once (KIP-394). */
  readonly memberIdRequired: boolean;
  readonly generationId: number;
  readonly protocol: string;
  readonly leaderId: string;
  readonly memberId: string;
  /** Everybody, on the leader; empty on the others. */
  readonly members: readonly { memberId: string; metadata: Buffer }[];
}

const MEMBER_ID_REQUIRED = 79;
/** Above what the group itself waits, so that the broker answers before the client gives up. */
const JOIN_MARGIN = 5_000;

export const JOIN_GROUP = defineRequest<JoinInput, Joined>({
  name: 'JoinGroup',
  apiKey: 11,
  versions: [5, 4, 3, 2],
  timeout: ({ rebalanceTimeout, sessionTimeout }) => Math.max(rebalanceTimeout, sessionTimeout) + JOIN_MARGIN,
  write(writer, { groupId, memberId, sessionTimeout, rebalanceTimeout, protocols }, version) {
    writer.string(groupId).int32(sessionTimeout).int32(rebalanceTimeout).string(memberId);
    if (version >= 5) writer.string(null); // group_instance_id
    writer.string('consumer');
    writer.array(protocols, ({ name, metadata }) => writer.string(name).bytes32(metadata));
  },
  read(reader, version) {
    reader.int32(); // throttle_time_ms
    const errorCode = reader.int16();
    if (errorCode !== MEMBER_ID_REQUIRED) check(errorCode, 'JoinGroup');
    return {
      memberIdRequired: errorCode === MEMBER_ID_REQUIRED,
      generationId: reader.int32(),
      protocol: reader.string() ?? '',
      leaderId: reader.string() ?? '',
      memberId: reader.string() ?? '',
      members: reader.array(() => {
        const memberId = reader.string() ?? '';
        if (version >= 5) reader.string(); // group_instance_id
        return { memberId, metadata: reader.bytes32() ?? Buffer.alloc(0) };
      }),
    };
  },
});

export const SYNC_GROUP = defineRequest<
  GroupIdentity & { assignments: readonly { memberId: string; assignment: Buffer }[]; timeout: number },
  Buffer
>({
  name: 'SyncGroup',
  apiKey: 14,
  versions: [3, 2, 1],
  timeout: ({ timeout }) => timeout + JOIN_MARGIN,
  write(writer, { groupId, generationId, memberId, assignments }, version) {
    writer.string(groupId).int32(generationId).string(memberId);
    if (version >= 3) writer.string(null); // group_instance_id
    writer.array(assignments, (member) => writer.string(member.memberId).bytes32(member.assignment));
  },
  read(reader) {
    reader.int32(); // throttle_time_ms
    check(reader.int16(), 'SyncGroup');
    return reader.bytes32() ?? Buffer.alloc(0);
  },
});

export const HEARTBEAT = defineRequest<GroupIdentity, void>({
  name: 'Heartbeat',
  apiKey: 12,
  versions: [3, 2, 1],
  write(writer, { groupId, generationId, memberId }, version) {
    writer.string(groupId).int32(generationId).string(memberId);
    if (version >= 3) writer.string(null); // group_instance_id
  },
  read(reader) {
    reader.int32(); // throttle_time_ms
    check(reader.int16(), 'Heartbeat');
  },
});

export const LEAVE_GROUP = defineRequest<{ groupId: string; memberId: string }, void>({
  name: 'LeaveGroup',
  apiKey: 13,
  versions: [2, 1],
  write: (writer, { groupId, memberId }) => writer.string(groupId).string(memberId),
  read(reader) {
    reader.int32(); // throttle_time_ms
    check(reader.int16(), 'LeaveGroup');
  },
});

export interface GroupDescriptionData {
  readonly errorCode: number;
  readonly groupId: string;
  readonly state: string;
  readonly protocolType: string;
  readonly protocol: string;
  readonly members: {
    memberId: string;
    clientId: string;
    clientHost: string;
    memberMetadata: Buffer;
    memberAssignment: Buffer;
  }[];
}

export const DESCRIBE_GROUP = defineRequest<{ groupId: string }, GroupDescriptionData>({
  name: 'DescribeGroups',
  apiKey: 15,
  versions: [2, 1],
  write: (writer, { groupId }) => writer.array([groupId], (id) => writer.string(id)),
  read(reader) {
    reader.int32(); // throttle_time_ms
    const [group] = reader.array(() => ({
      errorCode: reader.int16(),
      groupId: reader.string() ?? '',
      state: reader.string() ?? '',
      protocolType: reader.string() ?? '',
      protocol: reader.string() ?? '',
      members: reader.array(() => ({
        memberId: reader.string() ?? '',
        clientId: reader.string() ?? '',
        clientHost: reader.string() ?? '',
        memberMetadata: reader.bytes32() ?? Buffer.alloc(0),
        memberAssignment: reader.bytes32() ?? Buffer.alloc(0),
      })),
    }));
    check(group!.errorCode, 'DescribeGroups');
    return group!;
  },
});
