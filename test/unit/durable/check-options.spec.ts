import { Durable, DurableModule, NotDurable } from '../../../lib/index.js';
import { InvalidOptionError } from '../../../lib/errors/errors.js';
import { PostgresLedger } from '../../../lib/postgres/postgres-ledger.js';
import { InMemoryLedger } from '../../../lib/testing/index.js';

function refusal(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    expect(error).toBeInstanceOf(InvalidOptionError);
    return (error as Error).message;
  }
  return 'nothing was thrown';
}

const connection = 'postgres://me:pass-phrase@localhost:5432/shop';

/** Every option, with a value that works. */
const WORKING: Readonly<Record<string, unknown>> = {
  connection,
  schema: 'shop',
  migrate: false,
  applicationName: 'shop',
  prepare: false,
  fastFailover: false,
  retention: 1,
  messageIdRetention: 1,
  producer: { client: { brokers: ['localhost:9092'] } },
  mode: 'claim',
  lease: 100,
  keyHeader: false,
  global: false,
};

describe('Options of DurableModule', () => {
  it.each(Object.keys(WORKING))('takes %s, and refuses by its name what cannot work', (name) => {
    expect(() => DurableModule.forRoot({ connection, [name]: WORKING[name] })).not.toThrow();
    for (const garbage of [NaN, -5, 5n, [], '', null]) {
      expect(refusal(() => DurableModule.forRoot({ connection, [name]: garbage } as never))).toContain(
        `"DurableModule.${name}"`,
      );
    }
  });

  it.each([
    [undefined, '"DurableModule" is undefined; it must be an object'],
    [{}, '"DurableModule.connection" is missing'],
    [{ connection, migrate: 'yes' }, '"DurableModule.migrate" is \'yes\'; it must be true or false'],
    [{ connection, keyHeader: true }, '"DurableModule.keyHeader" is true; it must be a header\'s name, or'],
    [{ connection, schema: 5 }, '"DurableModule.schema" is 5; it must be a text that is not empty'],
    [{ ledger: {} }, '"DurableModule.ledger" is an object; it must be an object with a method open()'],
    [{ connection, ledger: new InMemoryLedger() }, '"DurableModule.ledger" takes the place of "connection"'],
    [
      { connection, producer: { clinet: {} } },
      '"DurableModule.producer.clinet" is not an option of this transport. Did you mean "client"?',
    ],
  ])('says what is wrong: %j', (options, message) => {
    expect(refusal(() => DurableModule.forRoot(options as never))).toContain(message);
  });

  it('says so of what a factory gives', async () => {
    const { providers = [] } = DurableModule.forRootAsync({ useFactory: () => undefined as never });
    const [options] = providers as { useFactory: () => Promise<unknown> }[];
    await expect(options!.useFactory()).rejects.toThrow('"DurableModule" is undefined; it must be an object');
  });

  it('refuses none and several sources', () => {
    class Factory {
      createDurableOptions() {
        return { connection };
      }
    }
    const several = { useClass: Factory, useFactory: () => ({ connection }) };
    expect(refusal(() => DurableModule.forRootAsync({}))).toContain('has none of useFactory');
    expect(refusal(() => DurableModule.forRootAsync(several))).toContain('has more than one of useFactory');
  });
});

describe('A connection string', () => {
  it.each([
    'me:pass-phrase@localhost:5432/shop',
    'postgres//me:pass-phrase@localhost/shop',
    'mysql://me:pass-phrase@localhost:3306/shop',
    'host=localhost password=pass-phrase',
    'postgres://me:pass-phrase@localhost:abc/shop',
    'postgres://me:pass-phrase#1@localhost/shop',
  ])('that Postgres does not understand is refused, and not shown: %s', async (given) => {
    for (const either of [given, { connectionString: given }]) {
      const open = async () => new PostgresLedger({ connection: either }).open();
      const error: unknown = await open().catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(InvalidOptionError);
      expect((error as Error).message).toContain('"connection" is not a connection string');
      expect((error as Error).message).not.toContain('pass-phrase');
    }
  });

  it.each([connection, 'postgresql://localhost/shop', '/var/run/postgresql shop', 'socket:/run/pg?db=shop'])(
    'of a form that pg knows is taken: %s',
    async (given) => {
      const ledger = new PostgresLedger({ connection: given });
      await ledger.close();
      expect(ledger).toBeInstanceOf(PostgresLedger);
    },
  );
});

describe('Decorators of handlers', () => {
  it.each([
    [{ kye: () => 'k' }, '"@Durable.kye" is not an option of this transport. Did you mean "key"?'],
    [{ key: 'id' }, '"@Durable.key" is a text; it must be a function'],
    [{ name: '' }, '"@Durable.name" is \'\'; it must be a text that is not empty'],
    [{ mode: 'claims' }, "\"@Durable.mode\" is 'claims'; it must be 'transaction' or 'claim'"],
  ])('@Durable() refuses what would be without effect: %j', (options, message) => {
    expect(refusal(() => Durable(options as never))).toContain(message);
  });

  it.each([
    ['@Durable() and @NotDurable()', () => [Durable(), NotDurable()]],
    ['@NotDurable() and @Durable()', () => [NotDurable(), Durable()]],
    ['two @Durable()', () => [Durable({ name: 'one' }), Durable({ key: () => 'k' })]],
  ])('contradict each other on one handler: %s', (_, decorators) => {
    class Handlers {
      handle() {}
    }
    const [upper, lower] = decorators();
    const descriptor = Object.getOwnPropertyDescriptor(Handlers.prototype, 'handle')!;
    lower!(Handlers.prototype, 'handle', descriptor);
    expect(refusal(() => upper!(Handlers.prototype, 'handle', descriptor))).toContain(
      '"Handlers.handle" has more than one of @Durable() and @NotDurable()',
    );
  });

  it('say of one handler something else than of its controller', () => {
    expect(() => {
      @NotDurable()
      class Handlers {
        @Durable()
        handle() {}
      }
      return Handlers;
    }).not.toThrow();
  });
});
