import { escapeIdentifier } from 'pg';
import type { FailureNote, HeldLane, LedgerFailures, RecordFailures } from '../execution/ledger-failures.js';
import type { Lane } from '../execution/ledger.js';
import type { LedgerPool } from './ledger-pool.js';
import { plainArray, storableText, type Parameter } from './parameters.js';
import type { ScopeIds } from './scope-ids.js';
import type { Statement } from './statements.js';

/** What is there once the ledger is open. */
export interface OpenLedger {
  readonly pool: LedgerPool;
  readonly scopes: ScopeIds;
}

/** Failures are rare: these statements are not prepared. */
export function createFailureStatements(schema: string): Record<'note' | 'find' | 'forget', Statement> {
  const s = escapeIdentifier(schema);
  const inLane = `scope_id = $1::int and topic_id = $2::uuid and partition = $3::int`;
  return {
    note: {
      text: `insert into ${s}.retry
         (scope_id, topic_id, partition, record_offset, failures, error_name, error_message)
       select $1::int, $2::uuid, $3::int, $5::bigint, $6::int, $7::text, $8::text
       where exists (select 1 from ${s}.fence where ${inLane} and epoch = $4::bigint)
       on conflict (scope_id, topic_id, partition, record_offset) do update
         set failures = greatest(retry.failures, excluded.failures), last_failed_at = excluded.last_failed_at,
           error_name = excluded.error_name, error_message = excluded.error_message`,
    },
    find: {
      text: `with over as (delete from ${s}.retry where ${inLane} and record_offset < $4::bigint)
       select record_offset, failures,
         (extract(epoch from clock_timestamp() - first_failed_at) * 1000)::bigint as age
       from ${s}.retry where ${inLane} and record_offset >= $4::bigint`,
    },
    forget: {
      text: `delete from ${s}.retry where ${inLane} and record_offset = any ($4::bigint[])`,
    },
  };
}

export class PostgresFailures implements LedgerFailures {
  private readonly statements: ReturnType<typeof createFailureStatements>;

  constructor(
    schema: string,
    private readonly opened: () => OpenLedger,
  ) {
    this.statements = createFailureStatements(schema);
  }

  async note({ lane, epoch }: HeldLane, { offset, failures, error }: FailureNote): Promise<void> {
    const failure = [String(offset), failures, storableText(error.name), storableText(error.message)];
    await this.run(this.statements.note, lane, [String(epoch), ...failure]);
  }

  async find({ lane }: HeldLane, from: bigint): Promise<RecordFailures[]> {
    const rows = await this.run(this.statements.find, lane, [String(from)]);
    return rows.map((row) => ({
      offset: BigInt(String(row['record_offset'])),
      failures: Number(row['failures']),
      age: Number(row['age']),
    }));
  }

  async forget(lane: Lane, offsets: readonly bigint[]): Promise<void> {
    await this.run(this.statements.forget, lane, [plainArray(offsets)]);
  }

  private async run(statement: Statement, lane: Lane, values: readonly Parameter[]) {
    const { pool, scopes } = this.opened();
    return pool.run(statement, [await scopes.of(lane.scope), lane.topicId, lane.partition, ...values]);
  }
}
