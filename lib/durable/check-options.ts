import type { Provider } from '@nestjs/common';
import { InvalidOptionError } from '../errors/errors.js';
import {
  flag,
  having,
  object,
  oneOf,
  onlyKnown,
  refuse,
  text,
  wholeNumber,
  type Check,
} from '../transport/option-checks.js';
import { EXECUTION_MODES } from './durable-metadata.accessor.js';
import {
  DURABLE_OPTIONS,
  type DurableModuleAsyncOptions,
  type DurableModuleOptions,
  type DurableOptionsFactory,
} from './durable.options.js';

const LEAST_LEASE = 100;
const PRODUCER_OPTIONS = ['client', 'driver', 'producer', 'send', 'provision', 'clock'];

const ageOrForever: Check = (option, value) => value === Infinity || wholeNumber(option, value, 1);

/** By name. `undefined` is not checked: a default takes its place. */
const CHECKS: Readonly<Record<keyof DurableModuleOptions, Check>> = {
  applicationName: text,
  clock: having('setTimeout'),
  // The rest of it is looked at where it is used: a URL may hold a password, and messages must not.
  connection: (option, value) => typeof value === 'string' || object(option, value),
  fastFailover: flag,
  global: flag,
  keyHeader: (option, value) =>
    value === false ||
    (typeof value === 'string' && value !== '') ||
    refuse(option, value, "a header's name, or false"),
  lease: (option, value) => wholeNumber(option, value, LEAST_LEASE),
  ledger: having('open'),
  messageIdRetention: ageOrForever,
  migrate: flag,
  mode: (option, value) => oneOf(option, value, EXECUTION_MODES),
  prepare: flag,
  producer: (option, value) => {
    object(option, value);
    onlyKnown(option, value as object, PRODUCER_OPTIONS);
  },
  retention: ageOrForever,
  schema: text,
};

/** The options as providers that Nest asks for when it builds the module. */
export function asyncOptions(
  { useFactory, useClass, useExisting, inject }: DurableModuleAsyncOptions,
  global: boolean,
): Provider[] {
  const given = [useFactory, useClass, useExisting].filter((each) => each !== undefined);
  if (given.length !== 1) {
    const count = given.length === 0 ? 'none' : 'more than one';
    throw new InvalidOptionError(
      'DurableModule.forRootAsync',
      `has ${count} of useFactory, useClass and useExisting; it needs one`,
    );
  }
  const checkedLate = (options: DurableModuleOptions) => {
    const copy = checked(options);
    if ((copy.global ?? global) === global) return copy;
    throw new InvalidOptionError(
      'DurableModule.global',
      `is ${copy.global} from a factory, which comes too late: give it to forRootAsync() itself`,
    );
  };
  if (useFactory) {
    const factory = async (...args: never[]) => checkedLate(await useFactory(...args));
    return [{ provide: DURABLE_OPTIONS, useFactory: factory, inject: (inject ?? []) as never[] }];
  }
  const source = (useExisting ?? useClass)!;
  const factory = async (from: DurableOptionsFactory) => checkedLate(await from.createDurableOptions());
  const provider: Provider = { provide: DURABLE_OPTIONS, useFactory: factory, inject: [source] };
  return useClass ? [useClass, provider] : [provider];
}

/** A copy of options that can be used. @throws InvalidOptionError */
export function checked(options: DurableModuleOptions): DurableModuleOptions {
  object('DurableModule', options);
  onlyKnown('DurableModule', options, Object.keys(CHECKS));
  if (!options.ledger && !options.connection) {
    throw new InvalidOptionError(
      'DurableModule.connection',
      'is missing: give a Postgres URL, pool options or a pg.Pool. Is DATABASE_URL set?',
    );
  }
  if (options.ledger && options.connection) {
    throw new InvalidOptionError('DurableModule.ledger', 'takes the place of "connection": give one of them');
  }
  for (const [name, check] of Object.entries(CHECKS)) {
    const value = options[name as keyof DurableModuleOptions];
    if (value !== undefined) check(`DurableModule.${name}`, value);
  }
  return { ...options };
}
