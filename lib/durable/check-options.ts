import type { Provider } from '@nestjs/common';
import { InvalidOptionError } from '../errors/errors.js';
import { oneOf, onlyKnown, wholeNumber } from '../transport/option-checks.js';
import { EXECUTION_MODES } from './durable-metadata.accessor.js';
import {
  DURABLE_OPTIONS,
  type DurableModuleAsyncOptions,
  type DurableModuleOptions,
  type DurableOptionsFactory,
} from './durable.options.js';

const KNOWN: readonly (keyof DurableModuleOptions)[] = [
  'applicationName',
  'clock',
  'connection',
  'fastFailover',
  'global',
  'keyHeader',
  'lease',
  'ledger',
  'messageIdRetention',
  'migrate',
  'mode',
  'prepare',
  'producer',
  'retention',
  'schema',
];
const LEAST_LEASE = 100;

/** The options as providers that Nest asks for when it builds the module. */
export function asyncOptions(
  { useFactory, useClass, useExisting, inject }: DurableModuleAsyncOptions,
  global: boolean,
): Provider[] {
  const checkedLate = (options: DurableModuleOptions) => {
    if ((options.global ?? global) === global) return checked(options);
    throw new InvalidOptionError(
      'DurableModule.global',
      `is ${options.global} from a factory, which comes too late: give it to forRootAsync() itself`,
    );
  };
  if (useFactory) {
    const factory = async (...args: never[]) => checkedLate(await useFactory(...args));
    return [{ provide: DURABLE_OPTIONS, useFactory: factory, inject: (inject ?? []) as never[] }];
  }
  const source = useExisting ?? useClass;
  if (!source)
    throw new InvalidOptionError('forRootAsync', 'needs one of useFactory, useClass and useExisting');
  const factory = async (from: DurableOptionsFactory) => checkedLate(await from.createDurableOptions());
  const provider: Provider = { provide: DURABLE_OPTIONS, useFactory: factory, inject: [source] };
  return useClass ? [useClass, provider] : [provider];
}

/** A copy of options that can be used. @throws InvalidOptionError */
export function checked(options: DurableModuleOptions): DurableModuleOptions {
  onlyKnown('DurableModule', options, KNOWN);
  if (!options.ledger && !options.connection) {
    throw new InvalidOptionError(
      'DurableModule.connection',
      'is missing: give a Postgres URL, pool options or a pg.Pool. Is DATABASE_URL set?',
    );
  }
  for (const name of ['retention', 'messageIdRetention'] as const) {
    if (options[name] !== undefined) wholeNumber(`DurableModule.${name}`, options[name], 1);
  }
  if (options.lease !== undefined) wholeNumber('DurableModule.lease', options.lease, LEAST_LEASE);
  if (options.mode !== undefined) oneOf('DurableModule.mode', options.mode, EXECUTION_MODES);
  return { ...options };
}
