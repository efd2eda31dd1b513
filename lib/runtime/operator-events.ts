import { channel, type Channel } from 'node:diagnostics_channel';

/** Which record, and whose it is. */
export interface RecordFacts {
  readonly group: string;
  readonly handler: string;
  readonly topic: string;
  readonly partition: number;
  readonly offset: bigint;
}

export interface PartitionFacts {
  readonly topic: string;
  readonly partition: number;
}

/**
 * What happens to records, for operators' tools: published on `node:diagnostics_channel` under
 * `nestjs-durable-kafka:<name>`. Facts about records, never what is in them. Times are milliseconds.
 */
export interface OperatorEvents {
  /** A handler is about to be called. */
  delivered: RecordFacts & { readonly attempt: number };
  /** It succeeded, and what it wrote is committed. `duration` runs from its call to the commit. */
  completed: RecordFacts & { readonly attempt: number; readonly duration: number | undefined };
  /** It was not called: the ledger says that the message was handled before. */
  duplicate: RecordFacts;
  /** It failed by itself; `decision` is what follows, after `delay` if it runs again. */
  failed: RecordFacts & {
    readonly attempt: number;
    readonly errorClass: string;
    readonly decision: string;
    readonly delay: number | undefined;
  };
  /** The record was given up, and that is stored. */
  dead: RecordFacts & { readonly attempts: number; readonly reason: string; readonly errorClass: string };
  /** An exception filter, or the lack of a place for dead letters, had the record skipped. */
  skipped: RecordFacts & { readonly attempts: number; readonly reason: string; readonly errorClass: string };
  /** It waits for another try, behind an earlier one of its key (`behind`), or for an operator (`held`). */
  parked: RecordFacts & { readonly why: 'exhausted' | 'behind' | 'held'; readonly failures: number };
  /** A dead record is on its way back to its topic. */
  redriven: RecordFacts & { readonly redrives: number };
  /** Work of all partitions is held. */
  'gate-closed': { readonly group: string; readonly reason: string };
  'gate-opened': { readonly group: string; readonly duration: number };
  /** Partitions came or went. */
  rebalanced: {
    readonly group: string;
    readonly change: 'assigned' | 'revoked' | 'lost';
    readonly partitions: readonly PartitionFacts[];
  };
  /** Now and then, for each partition held: records between its committed or committable offset and its end. */
  lag: PartitionFacts & { readonly group: string; readonly offset: bigint; readonly lag: bigint };
}

type TypedChannel<Facts> = Omit<Channel, 'publish'> & { publish(facts: Facts): void };

const open = <Name extends keyof OperatorEvents>(name: Name) =>
  channel(`nestjs-durable-kafka:${name}`) as TypedChannel<OperatorEvents[Name]>;

/** Ask `hasSubscribers` before facts are put together: without subscribers an event costs nothing. */
export const operatorEvents: { readonly [Name in keyof OperatorEvents]: TypedChannel<OperatorEvents[Name]> } =
  {
    delivered: open('delivered'),
    completed: open('completed'),
    duplicate: open('duplicate'),
    failed: open('failed'),
    dead: open('dead'),
    skipped: open('skipped'),
    parked: open('parked'),
    redriven: open('redriven'),
    'gate-closed': open('gate-closed'),
    'gate-opened': open('gate-opened'),
    rebalanced: open('rebalanced'),
    lag: open('lag'),
  };
