import type { Obstruction } from '../execution/ledger-members.js';
import { createHolderStatements, type HolderStatements } from './holder-statements.js';
import type { LedgerPool } from './ledger-pool.js';
import { plainArray, textArray } from './parameters.js';
import type { Row } from './result-types.js';
import type { Call } from './session.js';
import { laneLock } from './statements.js';

interface FencedLane {
  /** What it is, if somebody waits for its owner. */
  readonly obstruction: Obstruction;
  /** Of the transaction that has written the fence's row, or of an earlier one. */
  readonly xid: string;
  /** Key of the advisory lock of those that share the lane. */
  readonly lock: string;
}

/** Whose open transactions hold lanes, by the owners that the fences name. */
export class LaneHolders {
  private readonly statements: HolderStatements;

  constructor(
    private readonly schema: string,
    private readonly instance: string,
    private readonly pool: () => LedgerPool,
  ) {
    this.statements = createHolderStatements(schema);
  }

  /** As `LedgerMembers` has it. */
  async obstructions(groups: readonly string[]): Promise<readonly Obstruction[]> {
    const { findBlockers, findHeld } = this.statements;
    const blockers = await this.ask([findBlockers]);
    if (blockers.length === 0) return [];
    const held = await this.ask([findHeld, [plainArray(blockers.map(({ pid }) => Number(pid)))]]);
    if (held.length === 0) return [];
    const names = new Set(held.map(({ xid, lock }) => String(xid ?? lock)));
    const lanes = await this.lanes(groups, null);
    return lanes
      .filter(({ xid, lock }) => names.has(xid) || names.has(lock))
      .map(({ obstruction }) => obstruction);
  }

  /** As `LedgerMembers` has it. */
  async endTransactions(groupId: string, instance: string): Promise<number> {
    const lanes = await this.lanes([groupId], instance);
    if (lanes.length === 0) return 0;
    const [xids, locks] = [textArray(lanes.map(({ xid }) => xid)), plainArray(lanes.map(({ lock }) => lock))];
    const rows = await this.ask([this.statements.endHolders, [xids, locks]]);
    return rows.filter(({ ended }) => ended === 't').length;
  }

  private async lanes(groups: readonly string[], owner: string | null): Promise<FencedLane[]> {
    const rows = await this.ask([this.statements.findLanes, [textArray(groups), owner, this.instance]]);
    return rows.map((row) => {
      const [topicId, partition] = [String(row['topic_id']), Number(row['partition'])];
      return {
        obstruction: {
          groupId: String(row['consumer_group']),
          instance: String(row['owner']),
          topic: String(row['topic']),
          topicId,
        },
        xid: String(row['xid']),
        lock: laneLock(this.schema, Number(row['scope_id']), { topicId, partition }),
      };
    });
  }

  /** In a transaction, which has an application name also where connections are pooled elsewhere. */
  private async ask(call: Call): Promise<readonly Row[]> {
    return (await this.pool().transaction([call])).rows[0]!;
  }
}
