import { jest } from '@jest/globals';
import { Controller, Module } from '@nestjs/common';
import { EventPattern } from '@nestjs/microservices';
import { Test } from '@nestjs/testing';
import { LEDGER } from '../../../lib/durable/durable.options.js';
import type { Ledger } from '../../../lib/execution/ledger.js';
import { DurableModule, kafkaServer } from '../../../lib/index.js';
import { DurableWorld } from '../../support/durable-app.js';
import { eventually } from '../../support/eventually.js';
import { NoHttpAdapter } from '../../support/no-http-adapter.js';
import { writer } from '../../support/writer.js';

describe('fast fail-over', () => {
  let world: DurableWorld;

  beforeEach(async () => {
    world = await DurableWorld.create();
    world.kafka.createTopic('t', 2);
  });

  afterEach(() => world.dispose());

  const announced = async () => {
    const rows = await world.query<{ name: string }>(
      `select consumer_group || ' ' || member_id as name from {schema}.members order by 1`,
    );
    return rows.map(({ name }) => name);
  };

  const membersOf = (group: string) => world.kafka.group(group).memberIds.map((id) => `${group} ${id}`);

  it('announces the member of each server, as the coordinator names it, until the application is closed', async () => {
    @Module({ imports: [DurableModule.forRoot(world.connection)], controllers: [writer(world)] })
    class App {}
    const testing = await Test.createTestingModule({ imports: [App] })
      .setLogger(world.log)
      .compile();
    const app = world.closing(testing.createNestApplication(new NoHttpAdapter()));
    for (const groupId of ['east', 'west']) {
      app.connectMicroservice(kafkaServer(world.serverOptions({ consumer: { groupId } })), {
        inheritAppConfig: true,
      });
    }
    await app.init();
    await app.startAllMicroservices();
    const all = () => [...membersOf('east-server'), ...membersOf('west-server')].sort();
    await eventually(async () => all().length === 2 && String(await announced()) === String(all()));
    await world.closeAll();
    expect(await announced()).toEqual([]);
  });

  it('announces the member before any record is handled: a first record may kill the process', async () => {
    const seen: string[][] = [];
    @Controller()
    class Witness {
      @EventPattern('t')
      async handle(_event: unknown): Promise<void> {
        seen.push(await announced());
      }
    }
    for (const partition of [0, 1]) world.kafka.produce('t', { value: 'work', partition });
    await world.start({ controllers: [Witness] });
    await world.consumed('t');
    expect(seen).toEqual([membersOf('tests-server'), membersOf('tests-server')]);
  });

  it('makes its session before it joins: its first partitions would have to wait for it', async () => {
    const app = await world.build({ controllers: [writer(world)] });
    const announce = jest.spyOn(app.get<Ledger>(LEDGER).members, 'announce');
    await app.listen();
    expect(announce.mock.calls[0]).toEqual([[], []]);
  });

  it('follows a member that was expelled and joined again', async () => {
    await world.start({
      controllers: [writer(world)],
      server: { consumer: { groupId: 'tests', heartbeatInterval: 50 } },
    });
    const group = 'tests-server';
    await eventually(async () => String(await announced()) === String(membersOf(group)));
    const [before] = membersOf(group);
    world.kafka.faults.expel(before!.split(' ')[1]!);
    await eventually(
      async () => membersOf(group)[0] !== before && String(await announced()) === String(membersOf(group)),
    );
  });

  it('has a member dropped behind which there is no session any more, and gets its partitions', async () => {
    const dead = world.kafka.createConsumer({ groupId: 'tests-server', topics: ['t'], fromBeginning: true });
    await dead.start({
      onAssigned: () => Promise.resolve(),
      onRevoked: () => Promise.resolve(),
      onRecords: () => undefined,
      onStatus: () => undefined,
      onOffsetOutOfRange: () => undefined,
    });
    const { memberId } = dead;
    world.kafka.faults.crash(dead);
    const starting = world.start({ controllers: [writer(world)] });
    await eventually(
      async () =>
        (await world.query('select to_regclass($1) as found', [`${world.schema}.member`]))[0]!['found'],
    );
    // Nobody holds this lock.
    await eventually(() =>
      world.query(
        `insert into {schema}.member (consumer_group, member_id, instance, lock_key)
         values ('tests-server', $1, 'a process that died', 7)`,
        [memberId],
      ),
    );
    // Its start waits for the rebalance, and that for the dead member: without fail-over for 30 s.
    await starting;
    for (const partition of [0, 1]) world.kafka.produce('t', { value: `event-${partition}`, partition });
    await world.consumed('t');
    expect((await world.effects()).sort()).toEqual(['event-0', 'event-1']);
    await eventually(async () => String(await announced()) === String(membersOf('tests-server')));
  });

  it('is left to the session timeout where fastFailover is off', async () => {
    await world.start({ controllers: [writer(world)], durable: { fastFailover: false } });
    world.kafka.produce('t', { value: 'done' });
    await world.consumed('t');
    expect(await announced()).toEqual([]);
  });
});
