/** By which a process is told to end. Nest's shutdown hooks listen to them, or the application's own code. */
const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT'] as const;

type Signals = Pick<NodeJS.Process, 'listenerCount' | 'once' | 'off'>;

/**
 * Notes whether the process is told to end while it is watched. Only signals that somebody listens to already: a listener
 * of ours alone would keep the process from ending by them.
 */
export class EndingSignal {
  private hasCome = false;

  constructor(private readonly signals: Signals = process) {
    for (const signal of SIGNALS) {
      if (signals.listenerCount(signal) > 0) signals.once(signal, this.note);
    }
  }

  get received(): boolean {
    return this.hasCome;
  }

  /** Ends the watch. Nest takes its listeners away before it raises the signal again: none of ours may be left by then. */
  forget(): void {
    for (const signal of SIGNALS) this.signals.off(signal, this.note);
  }

  private readonly note = (): void => {
    this.hasCome = true;
    this.forget();
  };
}
