/** Has the wall clock of this process go wrong by so many milliseconds, for everything that runs in it. */
export function skewClock(milliseconds: number): void {
  if (milliseconds === 0) return;
  const Right = Date;
  class Skewed extends Right {
    constructor(...args: [] | ConstructorParameters<DateConstructor>) {
      if (args.length === 0) super(Right.now() + milliseconds);
      else super(...(args as [number]));
    }

    static override now(): number {
      return Right.now() + milliseconds;
    }
  }
  globalThis.Date = Skewed as DateConstructor;
}
