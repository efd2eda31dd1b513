import { setTimeout as sleep } from 'node:timers/promises';
import { coordinatorOf, leaderOf } from '../ground/leaders.js';
import type { Instance } from '../ground/instance.js';
import type { Fault, Scene } from './fault.js';
import { Turns } from '../turns.js';

/** Two faults at one server would undo each other. */
const postgres = new Turns();
const kafka = new Turns();

/** All are disturbed: those that there are, and those that join meanwhile. */
async function disturbing<Result>({ ground }: Scene, fault: () => Promise<Result>): Promise<Result> {
  const mark = (instance: Instance) => (instance.disturbed = true);
  ground.fleet.running.forEach(mark);
  try {
    return await fault();
  } finally {
    ground.fleet.running.forEach(mark);
  }
}

function outage(name: string, about: string, server: 'kafka' | 'postgres', how: 'fast' | 'kill'): Fault {
  const turns = server === 'kafka' ? kafka : postgres;
  return {
    name,
    about,
    stops: server,
    run: (scene, dice) =>
      turns.take(() =>
        disturbing(scene, async () => {
          const millis = dice.between(0, 8_000);
          const control = scene.ground.servers[server];
          await control.stop(how);
          await sleep(millis);
          await control.start();
          return `for ${millis} ms`;
        }),
      ),
  };
}

function setting(name: string, about: string, what: 'role' | 'database', trouble: string): Fault {
  return {
    name,
    about,
    run: (scene, dice) =>
      postgres.take(() =>
        disturbing(scene, async () => {
          const { database } = scene.ground;
          const millis = dice.between(1_000, 8_000);
          await database.alter(what, trouble);
          await sleep(millis);
          await database.heal();
          // Connections that were opened meanwhile are as they are.
          await database.endConnections(`usename = '${database.name}'`);
          return `for ${millis} ms`;
        }),
      ),
  };
}

const leaderKill: Fault = {
  name: 'leader-kill',
  about: 'with --cluster: the leader of a partition, or the coordinator of the group, killed and started',
  stops: 'kafka',
  needsCluster: true,
  run: (scene, dice) =>
    kafka.take(() =>
      disturbing(scene, async () => {
        const { ground } = scene;
        const millis = dice.between(0, 12_000);
        const { topics, groupId } = ground;
        const [what, id] = dice.chance(0.5)
          ? ['coordinator', await coordinatorOf(ground.admin, groupId)]
          : ['leader', await leaderOf(ground.admin, topics.events, dice.between(0, ground.partitions - 1))];
        const node = ground.servers.kafkaNodes[id - 1]!;
        await node.stop('kill');
        await sleep(millis);
        await node.start();
        return `node ${id}, a ${what}, for ${millis} ms`;
      }),
    ),
};

export const serverFaults: readonly Fault[] = [
  outage('pg-stop', 'Postgres stopped and started', 'postgres', 'fast'),
  outage('pg-immediate', 'Postgres crashed (an immediate shutdown) and started', 'postgres', 'kill'),
  setting(
    'pg-read-only',
    'Postgres read-only for a while',
    'database',
    'set default_transaction_read_only = on',
  ),
  setting(
    'pg-no-connections',
    'no more connections for the role of the service',
    'role',
    'connection limit 0',
  ),
  outage(
    'broker-kill',
    'the broker killed (SIGKILL) and started; of a cluster, all at once',
    'kafka',
    'kill',
  ),
  leaderKill,
];
