import { partitionName } from '../../messages/record.js';
import type { Log } from '../../runtime/log.js';
import type { AssignedPartition, ConsumerListener } from '../driver.js';

/** What a fetcher tells of a partition that can't be read, or is read again if there is no `problem`, to people and to the listener. */
export function reportTrouble(
  partition: AssignedPartition,
  problem: string | undefined,
  log: Log,
  listener: Pick<ConsumerListener, 'onStatus'> | undefined,
): void {
  const name = partitionName(partition);
  if (problem === undefined) {
    log.log(`${name} is read again`);
    listener?.onStatus('connected');
  } else {
    log.error(`${name} can't be read and is tried again: ${problem}`);
    listener?.onStatus('crashed', `${name}: ${problem}`);
  }
}
