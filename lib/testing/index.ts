export { driverContract } from './contract/driver.contract.js';
export type { DriverUnderTest } from './contract/driver-kit.js';
export type { TestFramework } from './contract/contract.js';
export { describeLedgerContract } from './contract/ledger.contract.js';
export type {
  ContractRunner,
  LedgerContractSetup,
  LedgerContractWorld,
} from './contract/ledger-contract-world.js';
export {
  InMemoryKafka,
  type InMemoryGroup,
  type InMemoryKafkaOptions,
} from './in-memory-kafka/in-memory-kafka.js';
export type { InMemoryKafkaProcess } from './in-memory-kafka/in-memory-kafka-process.js';
export { InMemoryLedger, type InMemoryLedgerOptions } from './in-memory-ledger.js';
export { InMemoryLedgerStore, type StoredCommit } from './in-memory-ledger-store.js';
export type { InMemoryTransactionClient } from './in-memory-transaction.js';
