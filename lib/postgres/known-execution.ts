import type { ExecutionState, KnownExecution } from '../execution/ledger.js';
import type { Row } from './result-types.js';
import { STATE_NUMBERS } from './stored-values.js';

const STATES = new Map<number, ExecutionState>(
  (Object.keys(STATE_NUMBERS) as ExecutionState[]).map((state) => [STATE_NUMBERS[state], state]),
);

export function knownExecution(row: Row): KnownExecution {
  return {
    state: stateOf(row['state']),
    fingerprint: BigInt(row['fingerprint'] as string),
    topicId: row['topic_id'] as string,
    partition: Number(row['partition']),
    offset: BigInt(row['record_offset'] as string),
  };
}

export function stateOf(number: Row[string] | undefined): ExecutionState {
  return STATES.get(Number(number))!;
}
