import { LeaseLostError } from '../errors/errors.js';
import type { Clock } from '../runtime/clock.js';

/** The claims that one group holds in one lane under one token. */
export class Lease {
  readonly token: string;
  /** What is still to be renewed, with what to do if it is lost. */
  private readonly held = new Map<string, { onLost?: (error: LeaseLostError) => void }>();
  private readonly lost = new Set<string>();
  private renewedAt: number;

  /** @param duration milliseconds; by the store's clock, and here by ours from before it was asked for. */
  constructor(
    private readonly clock: Clock,
    readonly duration: number,
  ) {
    this.token = clock.uuid();
    this.renewedAt = clock.monotonic();
  }

  get isEmpty(): boolean {
    return this.held.size === 0;
  }

  /** Nobody else can have taken over anything of it yet. */
  get isFresh(): boolean {
    return this.clock.monotonic() - this.renewedAt < this.duration;
  }

  hold(key: Buffer): void {
    this.held.set(key.toString('latin1'), {});
  }

  /** From now on a run wants to hear of the loss. */
  watch(key: Buffer, onLost: (error: LeaseLostError) => void): void {
    const held = this.held.get(key.toString('latin1'));
    if (held) held.onLost = onLost;
  }

  isLost(key: Buffer): boolean {
    return this.lost.has(key.toString('latin1'));
  }

  /** Renews it no more. */
  drop(key: Buffer): void {
    this.held.delete(key.toString('latin1'));
  }

  /**
   * A renewal came back.
   * @param sentAt when it was sent.
   * @param asked what was held then: what was claimed since is none of its business.
   */
  renewed(sentAt: number, asked: ReadonlySet<string>, held: ReadonlySet<string>): void {
    this.renewedAt = sentAt;
    for (const key of asked) if (!held.has(key)) this.lose(key, takenMessage);
  }

  /** A renewal failed. */
  notRenewed(): void {
    if (this.isFresh) return;
    for (const key of [...this.held.keys()]) this.lose(key, silentMessage);
  }

  get heldKeys(): Buffer[] {
    return [...this.held.keys()].map((key) => Buffer.from(key, 'latin1'));
  }

  get keys(): ReadonlySet<string> {
    return new Set(this.held.keys());
  }

  private lose(key: string, message: string): void {
    const held = this.held.get(key);
    if (!held) return;
    this.held.delete(key);
    this.lost.add(key);
    held.onLost?.(new LeaseLostError(message));
  }
}

const takenMessage =
  'The claim of this execution was taken over: its lease had run out before it was renewed. Was the process stopped, or its ' +
  'event loop blocked, for longer than the option "lease"?';
const silentMessage =
  'The claim of this execution could not be renewed within its lease: Postgres could not be reached. Somebody else may have ' +
  'taken it over.';
