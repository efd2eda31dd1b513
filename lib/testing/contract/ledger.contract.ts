import { describeCare } from './ledger-care.contract.js';
import { describeClaims } from './ledger-claims.contract.js';
import { describeConclusions } from './ledger-conclusions.contract.js';
import { describeFailures } from './ledger-failures.contract.js';
import { describeFences } from './ledger-fences.contract.js';
import { describeMembers } from './ledger-members.contract.js';
import { describeObstructions } from './ledger-obstructions.contract.js';
import { describeOutbox } from './ledger-outbox.contract.js';
import { describeParkedOrders } from './ledger-parked-orders.contract.js';
import { describeParking } from './ledger-parking.contract.js';
import { describeReader } from './ledger-reader.contract.js';
import { describeRedrive } from './ledger-redrive.contract.js';
import { describeSharing } from './ledger-sharing.contract.js';
import { describeSteps } from './ledger-steps.contract.js';
import { describeTakeovers } from './ledger-takeovers.contract.js';
import { describeTransactions } from './ledger-transactions.contract.js';
import { describeTruncations } from './ledger-truncations.contract.js';
import type { ContractRunner, LedgerContractSetup, LedgerContractWorld } from './ledger-contract-world.js';

/** What every `Ledger` must do, whatever it stores in. Call it from a test file, with the runner's own functions. */
export function describeLedgerContract(
  name: string,
  runner: ContractRunner,
  setup: LedgerContractSetup,
): void {
  runner.describe(`${name} keeps the ledger's contract`, () => {
    let world: LedgerContractWorld | undefined;
    runner.beforeEach(async () => {
      world = await setup();
    });
    runner.afterEach(async () => {
      await world?.dispose();
      world = undefined;
    });
    const current = () => {
      if (world === undefined) throw new Error('No test is running');
      return world;
    };
    describeTransactions(runner, current);
    describeFences(runner, current);
    describeSharing(runner, current);
    describeOutbox(runner, current);
    describeConclusions(runner, current);
    describeReader(runner, current);
    describeCare(runner, current);
    describeFailures(runner, current);
    describeParking(runner, current);
    describeParkedOrders(runner, current);
    describeRedrive(runner, current);
    describeMembers(runner, current);
    describeObstructions(runner, current);
    describeSteps(runner, current);
    describeClaims(runner, current);
    describeTakeovers(runner, current);
    describeTruncations(runner, current);
  });
}
