/** Where log lines go. Nest's `Logger` fits. Lines never hold payloads or credentials. */
export interface Log {
  error(message: string): void;
  warn(message: string): void;
  log(message: string): void;
  debug(message: string): void;
}

/** Drops every line. */
export const silentLog: Log = { error() {}, warn() {}, log() {}, debug() {} };
