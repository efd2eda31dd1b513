import {
  Logger,
  Module,
  type DynamicModule,
  type BeforeApplicationShutdown,
  type OnApplicationBootstrap,
  type OnApplicationShutdown,
  Inject,
  type Provider,
} from '@nestjs/common';
import { APP_GUARD, APP_INTERCEPTOR, ModulesContainer } from '@nestjs/core';
import { NotDurableError } from '../errors/errors.js';
import { FenceRegistry } from '../execution/fence-registry.js';
import type { Ledger } from '../execution/ledger.js';
import { LedgerCounters } from '../execution/ledger-counters.js';
import { LedgerKeeper } from '../execution/ledger-keeper.js';
import { LeaseKeeper } from '../execution/lease-keeper.js';
import { OutboxDispatcher } from '../execution/outbox-dispatcher.js';
import { DurablePool } from '../postgres/durable-pool.js';
import { FloatingQueries } from '../postgres/floating-queries.js';
import { PostgresLedger } from '../postgres/postgres-ledger.js';
import { systemClock } from '../runtime/clock.js';
import { OutgoingProducer } from '../transport/outgoing-producer.js';
import { ServerKafka } from '../transport/server-kafka.js';
import { builtInTransport, isBuiltInServer, refuseToListen } from './built-in-server.js';
import { watchCalls } from './call-watch.js';
import { asyncOptions, checked } from './check-options.js';
import { DURABLE_CORE } from './durable-core.js';
import { DurableExecution } from './durable-execution.js';
import { DurableLedger } from './durable-ledger.js';
import { DurableMetadataAccessor } from './durable-metadata.accessor.js';
import {
  aimProbe,
  createProbeController,
  isProbeController,
  prepareLedger,
} from './durable-startup.probe.js';
import { DurableGuard } from './durable.guard.js';
import { DurableInterceptor } from './durable.interceptor.js';
import {
  DURABLE_OPTIONS,
  LEDGER,
  type DurableModuleAsyncOptions,
  type DurableModuleOptions,
} from './durable.options.js';
import type { DurableCore } from './group-enlistment.js';
import { expectDistinctNames, expectKafkaHandlers, handlersByName, markHandlers } from './handler-names.js';
import { currentHandler, currentNested } from './handler-run.js';
import { LateEnlistment, offerLateEnlistment } from './late-enlistment.js';
import { OutboxOutlet } from './outbox-outlet.js';
import { offerMemory } from './offer-memory.js';
import { offerParking } from './parking-lot.js';
import { offerTruncations } from './offer-truncations.js';
import { LetterRedriver } from './letter-redriver.js';
import { RedriveRecipients } from './redrive-recipients.js';
import { Redriver } from './redriver.js';
import { ServerWatch } from './server-watch.js';

const DEFAULT_RETENTION = 7 * 24 * 3_600_000;
const DEFAULT_MESSAGE_ID_RETENTION = 3_600_000;
const DEFAULT_LEASE = 30_000;
const DEFAULT_KEY_HEADER = 'idempotency-key';

/**
 * Makes the Kafka handlers of an application durable: each runs once per idempotency key, in a Postgres transaction
 * that holds both its writes and the record of its run. Import once, in the root module.
 */
@Module({})
export class DurableModule
  implements OnApplicationBootstrap, BeforeApplicationShutdown, OnApplicationShutdown
{
  constructor(
    @Inject(LEDGER) private readonly ledger: Ledger,
    @Inject(DURABLE_CORE) core: DurableCore,
    private readonly keeper: LedgerKeeper,
    private readonly outlet: OutboxOutlet,
    private readonly watch: ServerWatch,
    private readonly pool: DurablePool,
    late: LateEnlistment,
    @Inject(DURABLE_OPTIONS) options: DurableModuleOptions,
    private readonly modules: ModulesContainer,
  ) {
    const imported = [...modules.values()].filter(({ metatype }) => metatype === DurableModule);
    if (imported.length > 1) {
      throw new NotDurableError(
        `DurableModule is imported ${imported.length} times with different options. Import it once, in the root module: ` +
          'its providers are global.',
      );
    }
    const [probe] = imported.flatMap(({ controllers }) => [...controllers.keys()].filter(isProbeController));
    expectKafkaHandlers(modules);
    expectDistinctNames(modules, probe !== undefined);
    markHandlers(modules, probe !== undefined);
    watchCalls(modules, probe !== undefined);
    offerParking(modules, ledger, core.clock);
    offerTruncations(modules, core, new Logger('DurableModule'));
    offerMemory(modules, options.retention ?? DEFAULT_RETENTION);
    modules.getRpcTargetRegistry().subscribe((server: unknown) => {
      if (isBuiltInServer(server)) refuseToListen(server);
    });
    if (!probe) return;
    // Not without the probe: until the application is initialized, the ledger is not open then.
    offerLateEnlistment(modules, late);
    // Each server registers its handlers right after it is announced here.
    const reserved = new Map<object, number>();
    modules.getRpcTargetRegistry().subscribe((server: unknown) => {
      if (!(server instanceof ServerKafka)) return;
      // Not left to the probe: a guard that stops it would keep the ledger from hearing how many transactions there will be.
      server.extend({
        beforeStart(facts) {
          reserved.set(server, facts.concurrency);
          const concurrency = [...reserved.values()].reduce((sum, each) => sum + each, 0);
          return prepareLedger(ledger, { ...facts, concurrency });
        },
      });
      aimProbe(probe, server);
    });
  }

  /** @throws InvalidOptionError */
  static forRoot(options: DurableModuleOptions): DynamicModule {
    return assemble([{ provide: DURABLE_OPTIONS, useValue: checked(options) }], options.global);
  }

  static forRootAsync(options: DurableModuleAsyncOptions): DynamicModule {
    const { global = true, imports = [] } = options;
    return { ...assemble(asyncOptions(options, global), global), imports };
  }

  async onApplicationBootstrap(): Promise<void> {
    // The registry replays what it holds, synchronously; servers of a hybrid application may come later.
    const servers: unknown[] = [];
    this.modules.getRpcTargetRegistry().subscribe((server) => {
      servers.push(server);
      if (!(server instanceof ServerKafka)) return;
      this.outlet.addServer(server);
      this.watch.addServer(server);
    });
    if (servers.some(isBuiltInServer)) throw builtInTransport();
    await this.ledger.open();
    this.keeper.start();
    this.watch.start();
  }

  /** While the servers' producers are still there. */
  async beforeApplicationShutdown(): Promise<void> {
    await this.outlet.settled();
    await this.keeper.stop();
  }

  /** After the servers are closed, so that what was in flight could still commit. */
  async onApplicationShutdown(): Promise<void> {
    await this.watch.stop();
    await this.outlet.close();
    await this.pool.end();
    await this.ledger.close();
  }
}

function assemble(options: Provider[], global = true): DynamicModule {
  const providers: Provider[] = [
    ...options,
    { provide: LEDGER, useFactory: createLedger, inject: [DURABLE_OPTIONS] },
    { provide: DURABLE_CORE, useFactory: createCore, inject: [DURABLE_OPTIONS, LEDGER] },
    DurableMetadataAccessor,
    DurableInterceptor,
    {
      provide: LateEnlistment,
      useFactory: (core: DurableCore, modules: ModulesContainer) =>
        new LateEnlistment(core, handlersByName(modules, global).sole),
      inject: [DURABLE_CORE, ModulesContainer],
    },
    DurableExecution,
    DurableLedger,
    RedriveRecipients,
    LetterRedriver,
    Redriver,
    { provide: DurablePool, useFactory: createPool, inject: [DURABLE_OPTIONS] },
    {
      provide: OutboxOutlet,
      useFactory: createOutlet,
      inject: [DURABLE_OPTIONS, DURABLE_CORE],
    },
    {
      provide: LedgerKeeper,
      useFactory: createKeeper,
      inject: [DURABLE_OPTIONS, DURABLE_CORE, OutboxOutlet],
    },
    { provide: ServerWatch, useFactory: createWatch, inject: [DURABLE_OPTIONS, DURABLE_CORE] },
  ];
  if (global) {
    providers.push({ provide: APP_INTERCEPTOR, useExisting: DurableInterceptor });
    providers.push(DurableGuard, {
      provide: APP_GUARD,
      useFactory: guardIfNeeded,
      inject: [ModulesContainer, DurableGuard],
    });
  }
  return {
    module: DurableModule,
    global: true,
    providers,
    controllers: global ? [createProbeController()] : [],
    exports: [
      DurableExecution,
      DurableInterceptor,
      DurableLedger,
      DurablePool,
      DurableMetadataAccessor,
      DURABLE_CORE,
      LEDGER,
    ],
  };
}

/** Nest skips a guard that is undefined. */
function guardIfNeeded(modules: ModulesContainer, guard: DurableGuard): DurableGuard | undefined {
  return handlersByName(modules, true).shared.size > 0 ? guard : undefined;
}

function createLedger(options: DurableModuleOptions): Ledger {
  if (options.ledger) return options.ledger;
  const { connection, schema, migrate, applicationName, prepare, clock } = options;
  return new PostgresLedger({
    connection: connection!,
    schema,
    migrate,
    applicationName,
    prepare,
    clock,
    log: new Logger('DurableLedger'),
    whoseRun: currentHandler,
  });
}

function createPool({ connection, ledger, clock = systemClock }: DurableModuleOptions): DurablePool {
  const { refuse } = new FloatingQueries(new Logger('DurablePool'), currentHandler);
  return new DurablePool(ledger ? undefined : connection, () => currentNested(clock), refuse);
}

function createCore(options: DurableModuleOptions, ledger: Ledger): DurableCore {
  const clock = options.clock ?? systemClock;
  const keyHeader = options.keyHeader ?? DEFAULT_KEY_HEADER;
  const dispatcher = new OutboxDispatcher(ledger, keyHeader, clock, new Logger('DurableOutbox'));
  const fences = new FenceRegistry(ledger, dispatcher, clock, new Logger('DurableModule'));
  const { lease = DEFAULT_LEASE, mode = 'transaction' } = options;
  const leases = new LeaseKeeper(ledger.claims, lease, clock, new Logger('DurableLedger'));
  return { ledger, fences, dispatcher, counters: new LedgerCounters(), leases, mode, keyHeader, clock };
}

function createOutlet({ producer, clock }: DurableModuleOptions, core: DurableCore): OutboxOutlet {
  const log = new Logger('DurableOutbox');
  const own = producer && new OutgoingProducer({ clock, ...producer }, log);
  return new OutboxOutlet(core.dispatcher, (ids) => core.ledger.markDispatched(ids), own, core.clock, log);
}

function createKeeper(options: DurableModuleOptions, core: DurableCore, outlet: OutboxOutlet): LedgerKeeper {
  const { ledger, dispatcher, clock } = core;
  const retention = {
    keys: options.retention ?? DEFAULT_RETENTION,
    messageIds: options.messageIdRetention ?? DEFAULT_MESSAGE_ID_RETENTION,
  };
  const log = new Logger('DurableLedger');
  return new LedgerKeeper(ledger.care, dispatcher, () => outlet.producer, { retention }, clock, log);
}

function createWatch({ fastFailover = true }: DurableModuleOptions, core: DurableCore): ServerWatch {
  return new ServerWatch(fastFailover, core.ledger.members, core.clock, new Logger('DurableLedger'));
}
