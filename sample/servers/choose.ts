import type { Log, RunningServer, Way } from './server.js';

type Ways<Address> = { [Name in keyof Address]: Way<Address[Name]>[] };

const heading = { given: 'given', docker: 'Docker', local: 'local' } as const;

/**
 * Keeps the ways that can be tried. Rejects before anything is started if a server that has ways is left with none,
 * saying for every such server what each way lacks.
 */
export async function usableWays<Address extends object>(servers: Ways<Address>): Promise<Ways<Address>> {
  const usable = {} as Ways<Address>;
  const complaints: string[] = [];
  const look = async (name: keyof Address & string) => {
    const reasons: string[] = [];
    usable[name] = [];
    for (const way of servers[name]) {
      const reason = await way.missing();
      if (reason !== undefined) reasons.push(`  ${heading[way.origin].padEnd(7)} ${reason}`);
      else usable[name].push(way);
      if (reason === undefined && way.origin !== 'docker') break; // only a container may fail for want of its image
    }
    if (servers[name].length > 0 && usable[name].length === 0)
      complaints.push(
        `No ${name === 'kafka' ? 'Kafka' : 'Postgres'}. Any one of these is enough:`,
        ...reasons,
      );
  };
  await Promise.all((Object.keys(servers) as (keyof Address & string)[]).map(look));
  if (complaints.length > 0) throw new Error(complaints.join('\n'));
  return usable;
}

/** Tries the ways in order; a failure is final unless another way is left. Resolves to nothing if there is no way. */
export async function firstThatStarts<Address>(
  name: string,
  ways: Way<Address>[],
  log: Log,
): Promise<RunningServer<Address> | undefined> {
  const failures: string[] = [];
  for (const [index, way] of ways.entries()) {
    try {
      return await way.start();
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      if (ways.length === 1) throw error;
      failures.push(`${heading[way.origin]}: ${message}`);
      if (index < ways.length - 1)
        log(`${name}: the ${heading[way.origin]} way failed (${message}), trying the next`);
    }
  }
  if (failures.length > 0) throw new Error(`No ${name}, tried every way.\n${failures.join('\n')}`);
  return undefined;
}
