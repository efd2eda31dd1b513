import { afterEach, beforeEach, describe, it } from '@jest/globals';
import { InMemoryLedger } from '../../lib/testing/in-memory-ledger.js';
import { InMemoryLedgerStore } from '../../lib/testing/in-memory-ledger-store.js';
import type { InMemoryTransactionClient } from '../../lib/testing/in-memory-transaction.js';
import { describeLedgerContract } from '../../lib/testing/contract/ledger.contract.js';

describeLedgerContract('InMemoryLedger', { describe, it, beforeEach, afterEach }, async () => {
  const store = new InMemoryLedgerStore();
  const ledgers: InMemoryLedger[] = [];
  return {
    openLedger: async () => {
      const ledger = new InMemoryLedger({ store });
      ledgers.push(ledger);
      await ledger.open();
      return ledger;
    },
    write: (client, text) => (client as InMemoryTransactionClient).insert('effect', text),
    fail: (client) => (client as InMemoryTransactionClient).fail(new Error('no such column')),
    written: async () => store.rowsOf('effect') as string[],
    die: async (memberId) => {
      for (const member of store.members.values()) {
        if (member.memberId === memberId) store.living.delete(member.instance);
      }
    },
    dispose: async () => {
      for (const ledger of ledgers) await ledger.close();
    },
  };
});
