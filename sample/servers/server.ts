/** How a server was obtained: an address in the environment, a Docker container, or a process on this machine. */
export type ServerOrigin = 'given' | 'docker' | 'local';

/** Fault injection. Rejects for servers that were given: those belong to somebody else. */
export interface ServerControl {
  /**
   * Ends the server process and keeps its data. `fast` is an orderly shutdown; `kill` is a crash: SIGKILL for Kafka,
   * an immediate shutdown (no checkpoint, recovery at the next start) for Postgres. Default `fast`.
   */
  stop(how?: 'fast' | 'kill'): Promise<void>;
  /** Starts it again at the same address with the same data; resolves when it answers. Does nothing while it runs. */
  start(): Promise<void>;
}

/** A server that answers at `address`: a list of brokers, or a database URL. */
export interface RunningServer<Address> {
  readonly origin: ServerOrigin;
  readonly address: Address;
  readonly control: ServerControl;
  /** Of a cluster that was started here: each node by itself, in the order of its addresses. */
  readonly nodes?: readonly ServerControl[];
  /** Ends what the watchdog does not end by itself; with `keep`, in order, so that the data can be used again. */
  end(keep: boolean): Promise<void>;
}

/** One way of having a server. */
export interface Way<Address> {
  readonly origin: ServerOrigin;
  /** What this way lacks, in words for the user; `undefined` if it can be tried. Takes seconds at most and starts nothing; rejects if no other way may be tried. */
  missing(): Promise<string | undefined>;
  /** Resolves when the server answers. On failure nothing is left that the watchdog does not end. */
  start(): Promise<RunningServer<Address>>;
}

/** Where progress goes, one line at a time. */
export type Log = (line: string) => void;
