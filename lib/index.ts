export { DurableExecution } from './durable/durable-execution.js';
export type { StepOptions } from './durable/step.options.js';
export { DurableLedger, type ExecutionQuery, type InWorkQuery } from './durable/durable-ledger.js';
export type { DurableOptions, ExecutionMode } from './durable/durable-metadata.accessor.js';
export { Durable, NotDurable } from './durable/durable.decorators.js';
export { DurableInterceptor } from './durable/durable.interceptor.js';
export type { RedriveFilter, RedriveOptions, RedriveReport } from './durable/redrive-run.js';
export type { DeadCount } from './execution/ledger-redrive.js';
export { DurableModule } from './durable/durable.module.js';
export type {
  DurableModuleAsyncOptions,
  DurableModuleOptions,
  DurableOptionsFactory,
} from './durable/durable.options.js';
export * from './errors/errors.js';
export type { DurableCounters } from './execution/ledger-counters.js';
export type { ExecutionState } from './execution/ledger.js';
export type {
  ExecutionFilter,
  ExecutionInWork,
  ExecutionPage,
  LedgerExecution,
  OutboxLag,
  ScopeCounts,
} from './execution/ledger-reader.js';
export { KafkaTransportError, type ErrorCode } from './errors/kafka-transport.error.js';
export { DurablePool } from './postgres/durable-pool.js';
export { ClientKafkaProxy } from './transport/client-kafka.proxy.js';
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
export type { KafkaTransportOptions } from './transport/kafka-transport.options.js';
export { ReplyPartitionAssigner } from './transport/reply-partition-assigner.js';
export { ServerKafka, type GateState } from './transport/server-kafka.js';
