import { escapeIdentifier } from 'pg';
import { FencedError } from '../errors/errors.js';
import type { LanePartition, LedgerTruncations } from '../execution/ledger-truncations.js';
import type { Fence, Lane } from '../execution/ledger.js';
import { MAX_OFFSET, positionKey } from '../messages/idempotency-key.js';
import type { Clock } from '../runtime/clock.js';
import { fencedMessage } from './claim-lane.js';
import type { OpenLedger } from './postgres-failures.js';
import { PATIENCE } from './take-fence.js';
import type { Statement, Statements } from './statements.js';

/** Tables with what is stored under a key, the one first that others wait for; and whether they repeat its topic's id. */
const KEYED = [
  ['execution', true],
  ['claim', true],
  ['step', false],
  ['failure', false],
  ['reply', false],
  ['dead_letter', true],
] as const;

/** For a log that lost its end, which hardly ever happens: these statements are not prepared. */
function createTruncationStatements(schema: string) {
  const s = escapeIdentifier(schema);
  const inLane = 'scope_id = $1::int and topic_id = $2::uuid and partition = $3::int';
  const held = `exists (select 1 from ${s}.fence where ${inLane} and epoch = $4::bigint)`;
  const inRange = `scope_id = $1::int and key between $2::bytea and $3::bytea`;
  const stillHeld = `exists (
    select 1 from ${s}.fence where scope_id = $1::int and topic_id = $5::uuid and partition = $6::int and epoch = $7::bigint)`;
  const statement = (text: string): Statement => ({ text });
  return {
    lanesOf: statement(
      `select s.handler, f.topic from ${s}.fence f join ${s}.scope s on s.id = f.scope_id
       where s.consumer_group = $1::text and f.topic_id = $2::uuid and f.partition = $3::int`,
    ),
    lower: statement(
      `update ${s}.fence
       set next_offset = least(next_offset, $5::bigint), previous_offset = least(previous_offset, $5::bigint)
       where ${inLane} and epoch = $4::bigint
       returning 1`,
    ),
    follow: statement(
      `update ${s}.fence set leader_epoch = greatest(leader_epoch, $5::int)
       where ${inLane} and epoch = $4::bigint
       returning 1`,
    ),
    forgetFailures: statement(
      `delete from ${s}.retry where ${inLane} and record_offset >= $5::bigint and ${held}`,
    ),
    // The fence by which views name the topic and pruning knows that all of it is over.
    addFence: statement(
      `insert into ${s}.fence (scope_id, topic_id, partition, next_offset, previous_offset, epoch, topic, owner)
       select scope_id, $4::uuid, partition, lost.next_offset, lost.next_offset,
         nextval('${s.replaceAll("'", "''")}.fence_epoch'), topic, owner
       from ${s}.fence, (select max(record_offset) + 1 as next_offset from ${s}.execution where ${inRange}) lost
       where scope_id = $1::int and topic_id = $5::uuid and partition = $6::int and epoch = $7::bigint
         and lost.next_offset is not null`,
    ),
    /** The topic's id is in the 16 bytes behind the first one of a position's key. */
    move: KEYED.map(([table, hasTopicId]) =>
      statement(
        `update ${s}.${table}
         set key = substring(key for 1) || uuid_send($4::uuid) || substring(key from 18)${hasTopicId ? ', topic_id = $4::uuid' : ''}
         where ${inRange} and ${stillHeld}`,
      ),
    ),
  };
}

export class PostgresTruncations implements LedgerTruncations {
  private readonly own: ReturnType<typeof createTruncationStatements>;

  constructor(
    schema: string,
    private readonly statements: Statements,
    private readonly clock: Clock,
    private readonly opened: () => OpenLedger,
  ) {
    this.own = createTruncationStatements(schema);
  }

  async lanesOf({ group, topicId, partition }: LanePartition): Promise<Lane[]> {
    const rows = await this.opened().pool.run(this.own.lanesOf, [group, topicId, partition]);
    return rows.map((row) => ({
      scope: { group, handler: String(row['handler']) },
      topic: String(row['topic']),
      topicId,
      partition,
    }));
  }

  async lower({ lane, epoch }: Fence, end: bigint): Promise<void> {
    const { pool, scopes } = this.opened();
    const { topicId, partition } = lane;
    const scopeId = await scopes.of(lane.scope);
    const held = [scopeId, topicId, partition, String(epoch), String(end)];
    const lowest = positionKey(topicId, partition, end).encoded;
    const highest = positionKey(topicId, partition, MAX_OFFSET).encoded;
    const moved = [scopeId, lowest, highest, this.clock.uuid(), topicId, partition, String(epoch)];
    const { own } = this;
    const { rows } = await pool.transaction([
      // As whoever takes the fence: no transaction is at work in the lane meanwhile.
      [this.statements.lockLane, [this.statements.laneLock(scopeId, lane)]],
      [own.lower, held],
      [own.forgetFailures, held],
      [own.addFence, moved],
      ...own.move.map((statement) => [statement, moved] as const),
    ]);
    if (rows[1]!.length === 0) throw new FencedError(fencedMessage(lane, epoch));
  }

  /** A group that waits for this one may hold the row: it gives up rather than to wait for each other. */
  async follow({ lane, epoch }: Fence, leaderEpoch: number): Promise<void> {
    const { pool, scopes } = this.opened();
    const scopeId = await scopes.of(lane.scope);
    const { rows } = await pool.transaction([
      [{ text: `set local lock_timeout = '${PATIENCE}'` }],
      [this.own.follow, [scopeId, lane.topicId, lane.partition, String(epoch), leaderEpoch]],
    ]);
    if (rows[1]!.length === 0) throw new FencedError(fencedMessage(lane, epoch));
  }
}
