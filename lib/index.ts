export type { ParkingPolicy } from './consumption/parking-policy.js';
export type { RetryPolicy } from './consumption/retry-policy.js';
export type { Ordering } from './consumption/sequences.js';
export { DurableExecution } from './durable/durable-execution.js';
export type { StepOptions } from './durable/step.options.js';
export {
  DurableLedger,
  type DropParkedOptions,
  type ExecutionQuery,
  type InWorkQuery,
  type ParkedQuery,
} from './durable/durable-ledger.js';
export type { DurableOptions, ExecutionMode } from './durable/durable-metadata.accessor.js';
export { Durable, NotDurable } from './durable/durable.decorators.js';
export { DurableInterceptor } from './durable/durable.interceptor.js';
export type { RedriveFilter, RedriveOptions, RedriveReport } from './durable/redrive-run.js';
export type { ParkedFilter, ParkedHead, ParkingError } from './execution/ledger-parking.js';
export type { DeadCount, DeadFacts } from './execution/ledger-redrive.js';
export { DurableModule } from './durable/durable.module.js';
export type {
  DurableModuleAsyncOptions,
  DurableModuleOptions,
  DurableOptionsFactory,
} from './durable/durable.options.js';
export * from './errors/errors.js';
export type { DurableCounters } from './execution/ledger-counters.js';
export type { ExecutionState, Scope } from './execution/ledger.js';
export type {
  ExecutionFilter,
  ExecutionInWork,
  ExecutionPage,
  LedgerExecution,
  OutboxLag,
  ScopeCounts,
} from './execution/ledger-reader.js';
export {
  KafkaTransportError,
  type ErrorCode,
  type KafkaTransportErrorFacts,
} from './errors/kafka-transport.error.js';
export type { ParsedMessage } from './messages/parser.js';
export type { KafkaRecord, RecordHeader } from './messages/record.js';
export { DurablePool } from './postgres/durable-pool.js';
export type { TransactionClient } from './postgres/transaction-client.js';
export type { Clock, Timer } from './runtime/clock.js';
export { ClientKafkaProxy } from './transport/client-kafka.proxy.js';
export type { EmittedRecords } from './transport/emitted-records.js';
export { kafkaClient } from './transport/kafka-client.js';
export { KafkaDeliveryContext } from './transport/kafka-delivery.context.js';
export {
  KafkaMaxRetryExceptionFilter,
  type CircuitState,
  type KafkaMaxRetryOptions,
  type SkipHandler,
} from './transport/kafka-max-retry.exception-filter.js';
export { kafkaServer } from './transport/kafka-server.js';
export { KafkaTerminalException } from './transport/kafka-terminal.exception.js';
export type { DeadLetterOption, KafkaTransportOptions } from './transport/kafka-transport.options.js';
export type { OutgoingProducerOptions } from './transport/outgoing-producer.js';
export type { UnclaimedReplies } from './transport/reply-registry.js';
export { ReplyPartitionAssigner } from './transport/reply-partition-assigner.js';
export { ServerKafka, type GateState } from './transport/server-kafka.js';
