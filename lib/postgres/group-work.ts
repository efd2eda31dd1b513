import type { GroupWork, Lane, OutboxRecord, ReplyToStore } from '../execution/ledger.js';
import { unpackHeaders } from '../messages/header-packing.js';
import { packedContents } from './packed-contents.js';
import { byteaArray, PackedBytes, plainArray, textArray } from './parameters.js';
import type { Row } from './result-types.js';
import type { ScopeIds } from './scope-ids.js';
import type { Call } from './session.js';
import type { Statements } from './statements.js';

type LaneRecord = GroupWork['outbox'][number];

/** The statement that stores replies; none for none. */
export async function storeReplies(
  replies: readonly ReplyToStore[],
  statements: Statements,
  scopes: ScopeIds,
): Promise<Call[]> {
  if (replies.length === 0) return [];
  const scopeIds = await scopeIdsOf(
    replies.map(({ scope }) => scope),
    scopes,
  );
  const packed = new PackedBytes();
  const bounds = replies.map(({ body }) => packed.add(body));
  return [
    [
      statements.addReplies,
      [
        plainArray(scopeIds),
        byteaArray(replies.map(({ key }) => key)),
        plainArray(bounds.map(({ start }) => start)),
        plainArray(bounds.map(({ length }) => length)),
        packed.bytes(),
      ],
    ],
  ];
}

/** The statement that stores outbox records in their order; none for none. */
export async function storeOutbox(
  outbox: readonly LaneRecord[],
  statements: Statements,
  scopes: ScopeIds,
): Promise<Call[]> {
  if (outbox.length === 0) return [];
  const scopeIds = await Promise.all(outbox.map(({ lane }) => lane && scopes.of(lane.scope)));
  return [
    [
      statements.addOutbox,
      [
        plainArray(scopeIds),
        plainArray(outbox.map(({ lane }) => lane && lane.topicId)),
        plainArray(outbox.map(({ lane }) => lane && lane.partition)),
        plainArray(outbox.map(({ record }) => record.id)),
        textArray(outbox.map(({ record }) => record.topic)),
        plainArray(outbox.map(({ record }) => record.partition)),
        ...packedContents(outbox.map(({ record }) => record)),
      ],
    ],
  ];
}

export function outboxRecord(row: Row): OutboxRecord {
  return {
    id: row['id'] as string,
    topic: row['topic'] as string,
    partition: row['record_partition'] === null ? null : Number(row['record_partition']),
    key: row['key'] as Buffer | null,
    value: row['value'] as Buffer | null,
    headers: unpackHeaders(row['headers'] as Buffer),
  };
}

/** A lane's name within one ledger. */
export function laneName(scopeId: number, lane: Lane): string {
  return `${scopeId}/${lane.topicId}/${lane.partition}`;
}

async function scopeIdsOf(list: readonly ReplyToStore['scope'][], scopes: ScopeIds): Promise<number[]> {
  return Promise.all(list.map((scope) => scopes.of(scope)));
}
