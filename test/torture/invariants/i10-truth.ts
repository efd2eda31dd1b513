import type { Facts, Violation } from '../oracle/facts.js';
import { grouped } from './lookup.js';

interface Range {
  readonly least: number;
  readonly most: number;
}

/**
 * I10: the library's own counters equal the effect log. A process whose connections were cut may have committed what it
 * could not count: there it may count less, never more.
 */
export function* truth(facts: Facts): Generator<Violation> {
  const handledBy = facts.mode === 'claim' ? completedBy(facts) : writtenBy(facts);
  for (const { name, running, disturbed, counters } of facts.instances) {
    if (!running) continue;
    const handled = counters?.['handled'];
    const { least, most } = handledBy(name);
    if (handled !== undefined && handled <= most && (handled >= least || disturbed)) continue;
    const truly = least === most ? String(most) : `${least} to ${most}`;
    yield {
      invariant: 'I10',
      what: `${name} counts ${handled ?? 'nothing'} handled, and has handled ${truly}`,
    };
  }
}

function writtenBy({ effects }: Facts): (instance: string) => Range {
  const own = grouped(effects, ({ instance }) => instance);
  return (instance) => {
    const count = own.get(instance)?.length ?? 0;
    return { least: count, most: count };
  };
}

/**
 * Under claim mode an effect may be that of a process which lost its claim before its handler was through. Completed has
 * one of those in which the handler came to its end: the only one, if no other did and it is completed.
 */
function completedBy({ log, executions }: Facts): (instance: string) => Range {
  const completed = new Set(
    executions.filter(({ state }) => state === 'completed').map(({ handler, key }) => `${handler} ${key}`),
  );
  const ends = log.filter(({ what }) => what === 'end');
  const processes = new Map<string, Set<string>>();
  for (const [name, lines] of grouped(ends, ({ handler, key }) => `${handler} ${key}`)) {
    processes.set(name, new Set(lines.map(({ instance }) => instance)));
  }
  return (instance) => {
    const own = [...processes].filter(([, all]) => all.has(instance));
    const alone = own.filter(([name, all]) => all.size === 1 && completed.has(name));
    return { least: alone.length, most: own.length };
  };
}
