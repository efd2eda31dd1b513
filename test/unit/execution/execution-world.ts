import type { Execution, LaneWork } from '../../../lib/execution/prepared-lane.js';
import { ExecutionGroup } from '../../../lib/execution/execution-group.js';
import type { FinishedExecution } from '../../../lib/execution/group-executions.js';
import { FenceRegistry, type FenceHolder } from '../../../lib/execution/fence-registry.js';
import type { Lane, OutboxRecord } from '../../../lib/execution/ledger.js';
import { OutboxDispatcher } from '../../../lib/execution/outbox-dispatcher.js';
import { recordKey } from '../../../lib/messages/idempotency-key.js';
import type { KafkaRecord, OutgoingRecord } from '../../../lib/messages/record.js';
import { silentLog } from '../../../lib/runtime/log.js';
import { systemClock } from '../../../lib/runtime/clock.js';
import type { InMemoryLedgerStore } from '../../../lib/testing/in-memory-ledger-store.js';
import type { InMemoryTransactionClient } from '../../../lib/testing/in-memory-transaction.js';
import { InMemoryLedger } from '../../../lib/testing/in-memory-ledger.js';

export const TOPIC_ID = '00000000-0000-0000-0000-000000000001';

/** One process: a ledger over a store, and what a consumer would bring. */
export class ExecutionWorld {
  readonly ledger: InMemoryLedger;
  readonly dispatcher: OutboxDispatcher;
  readonly fences: FenceRegistry;
  readonly produced: OutgoingRecord[] = [];
  holder: FenceHolder = this.newHolder(1);

  constructor(store?: InMemoryLedgerStore) {
    this.ledger = new InMemoryLedger({ store });
    this.dispatcher = new OutboxDispatcher(this.ledger, 'idempotency-key', systemClock, silentLog);
    this.fences = new FenceRegistry(this.ledger, this.dispatcher, systemClock, silentLog);
  }

  async open(): Promise<this> {
    await this.ledger.open();
    return this;
  }

  newHolder(rebalanceId: number): FenceHolder {
    return {
      rebalanceId,
      confirm: () => Promise.resolve(true),
      produce: (record) => Promise.resolve(void this.produced.push(record)),
    };
  }

  group(): ExecutionGroup {
    return new ExecutionGroup(this.ledger, this.fences);
  }

  work(records: readonly KafkaRecord[], overrides: Partial<LaneWork> & { handler?: string } = {}): LaneWork {
    const { handler = 'Handlers.run', ...rest } = overrides;
    const partition = records[0]?.partition ?? 0;
    return {
      lane: laneOf(handler, partition),
      holder: this.holder,
      isShared: false,
      maxLetters: 1_000,
      records,
      kind: () => 'event',
      keyOf: (record) => recordKey(record, TOPIC_ID, 'idempotency-key'),
      ...rest,
    };
  }

  /** Admits, "runs" and commits records in one group; resolves with the offsets that ran. */
  async run(records: readonly KafkaRecord[], { stopAfter = records.length } = {}): Promise<bigint[]> {
    const group = this.group();
    const work = this.work(records);
    const ran: bigint[] = [];
    try {
      for (const record of records.slice(0, stopAfter)) {
        const admission = await group.admit(work, record);
        if (admission.kind !== 'run') continue;
        ran.push(record.offset);
        await (group.transaction.client as InMemoryTransactionClient).insert('effect', effectOf(record));
      }
      await group.commit(records.slice(0, stopAfter).map((record) => finished(work, record)));
      return ran;
    } catch (error) {
      await group.rollback();
      throw error;
    }
  }

  get effects(): string[] {
    return this.ledger.store.rowsOf('effect') as string[];
  }
}

export function laneOf(handler: string, partition = 0): Lane {
  return { scope: { group: 'group', handler }, topic: 't', topicId: TOPIC_ID, partition };
}

export function record(
  offset: number,
  key?: string,
  { value = key ?? 'x', partition = 0 } = {},
): KafkaRecord {
  return {
    topic: 't',
    partition,
    offset: BigInt(offset),
    timestamp: 0,
    key: null,
    value: Buffer.from(value),
    headers: key === undefined ? [] : [['idempotency-key', Buffer.from(key)]],
  };
}

export function effectOf({ partition, offset, headers }: KafkaRecord): string {
  return headers[0]?.[1]?.toString() ?? `${partition}/${offset}`;
}

export function finished(
  work: LaneWork,
  of: KafkaRecord,
  { reply, outbox = [] }: { reply?: Buffer; outbox?: OutboxRecord[] } = {},
): FinishedExecution {
  return { record: of, lane: work.lane, reply, outbox };
}

export function expectRun(admission: { kind: string }): Execution {
  if (admission.kind !== 'run') throw new Error(`Not to be run, but ${admission.kind}`);
  return (admission as { execution: Execution } & typeof admission).execution;
}
