import type { Dice } from '../dice.js';
import type { Ground } from '../ground/ground.js';
import type { Load } from '../ground/load.js';

export interface Scene {
  readonly ground: Ground;
  readonly load: Load;
  /** Aborts when faults have to end. */
  readonly signal: AbortSignal;
}

/** One way in which things break. It has healed what it broke when its promise is settled. */
export interface Fault {
  readonly name: string;
  /** One line for `--list`. */
  readonly about: string;
  /** The server that it stops, kills or starts; it has to be this run's own. */
  readonly stops?: 'kafka' | 'postgres';
  /** It hits one broker of several. */
  readonly needsCluster?: boolean;
  /** Resolves with what happened, in a few words. */
  readonly run: (scene: Scene, dice: Dice) => Promise<string>;
}
