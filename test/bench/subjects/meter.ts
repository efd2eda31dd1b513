import { EFFECT } from './effects.js';
import type { MarkName, SubjectSettings } from './settings.js';
import { tell } from './settings.js';

/** A class like `pg.Client`, of whichever copy of the package. */
interface ClientClass {
  readonly prototype: { query: (...args: never[]) => unknown };
}

/** Counts what a subject does, and tells how the process stands at its marks. */
export class Meter {
  private count = 0;
  private statements = 0;
  private trips = 0;
  private readonly warm: number;
  private readonly end: number;

  constructor({ marks }: Pick<SubjectSettings, 'marks'>) {
    [this.warm, this.end] = marks;
  }

  /** A handler has done its work for one more record. */
  handled(): void {
    this.reach(this.count + 1);
  }

  /** That many records are through, where no handler runs that could count. */
  reach(count: number): void {
    const before = this.count;
    this.count = count;
    if (before < this.warm && count >= this.warm) this.mark('warm');
    if (before < this.end && count >= this.end) this.mark('end');
  }

  get ended(): boolean {
    return this.count >= this.end;
  }

  /** Counts the statements of all clients of a class from now on. */
  countStatements({ prototype }: ClientClass): void {
    const { query } = prototype;
    const count = () => this.statements++;
    prototype.query = function (this: unknown, ...args: never[]) {
      count();
      return query.apply(this, args);
    };
  }

  /**
   * From now on counts what is not the handlers' own: statements, and round trips, which are the times that a connection
   * with nothing under way is given something.
   */
  countOurs({ prototype }: ClientClass): void {
    const { query } = prototype;
    const underWay = new WeakMap<object, number>();
    const begin = (client: object, name: unknown) => {
      const before = underWay.get(client) ?? 0;
      underWay.set(client, before + 1);
      if (name === EFFECT) return;
      this.statements++;
      if (before === 0) this.trips++;
    };
    const end = (client: object) => underWay.set(client, underWay.get(client)! - 1);
    prototype.query = function (this: object, ...args: never[]) {
      const result = query.apply(this, args);
      // What takes a callback is the pool's own, and what is a query of `pg` already is the handlers'.
      if (result instanceof Promise) {
        begin(this, (args[0] as { name?: unknown } | undefined)?.name);
        result.then(
          () => end(this),
          () => end(this),
        );
      }
      return result;
    };
  }

  private mark(mark: MarkName): void {
    const { user, system } = process.cpuUsage();
    const { rss } = process.memoryUsage();
    tell({ mark, at: Date.now(), cpu: user + system, rss, statements: this.statements, trips: this.trips });
  }
}
