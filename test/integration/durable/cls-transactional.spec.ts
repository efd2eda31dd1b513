import { DurableWorld } from '../../support/durable-app.js';
import { databaseUrl } from '../../support/ledger-schema.js';
import { Program } from '../../support/program.js';
import { SETTINGS_VARIABLE, type TransactionalSettings } from './children/transactional-settings.js';

/** Of its own: the plugin is CommonJS, and requires Nest, an ES module, as Node does and jest does not. */
const program = new URL('../../dist/test/integration/durable/children/transactional.js', import.meta.url);

describe('@Transactional() of @nestjs-cls over DurablePool', () => {
  let world: DurableWorld;

  beforeEach(async () => {
    world = await DurableWorld.create();
  });
  afterEach(() => world.dispose());

  it("joins the handler's transaction, as a savepoint, and is one of its own outside", async () => {
    const settings: TransactionalSettings = { databaseUrl: databaseUrl(), schema: world.schema };
    const run = await new Program(program, { [SETTINGS_VARIABLE]: JSON.stringify(settings) }).end(60_000);
    expect(run.lines.filter((line) => line.startsWith('@'))).toEqual([
      '@same connection true',
      '@same connection true',
      '@handled in run 2',
      '@done',
    ]);
    expect(await world.effects()).toEqual(['a first', 'a last', 'outside']);
    expect(run.code).toBe(0);
  });
});
