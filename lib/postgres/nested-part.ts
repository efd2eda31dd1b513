import { TransactionAbortedError } from '../errors/errors.js';
import { sqlState } from './ledger-connection-error.js';
import {
  createTransactionClient,
  type ClientGate,
  type RefuseFloating,
  type TransactionClient,
} from './transaction-client.js';

const SAVEPOINT = 'durable_part';
const IN_FAILED_TRANSACTION = '25P02';

/**
 * Runs `work` between a savepoint and its release: what it wrote is undone if it rejects, and nothing is written through
 * its client once it is over. Rejects with what `work` did.
 */
export async function nestedPart<T>(
  outer: TransactionClient,
  gate: ClientGate,
  refuseFloating: RefuseFloating,
  work: (client: TransactionClient) => Promise<T>,
): Promise<T> {
  let over = false;
  const client = createTransactionClient(false, () => (over ? 'ended' : gate()), refuseFloating);
  await outer.query(`savepoint ${SAVEPOINT}`);
  try {
    const result = await work(client);
    over = true;
    await outer.query(`release savepoint ${SAVEPOINT}`);
    return result;
  } catch (error) {
    over = true;
    // Fails if the connection is gone: then everything is undone.
    await outer
      .query(`rollback to savepoint ${SAVEPOINT}; release savepoint ${SAVEPOINT}`)
      .catch(() => undefined);
    throw sqlState(error) === IN_FAILED_TRANSACTION ? new TransactionAbortedError() : error;
  }
}
