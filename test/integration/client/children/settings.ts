export interface RequesterSettings {
  readonly brokers: string[];
  readonly group: string;
  readonly topic: string;
  /** Requests that are under way at any time. */
  readonly inFlight: number;
  /** Of the group, in milliseconds. */
  readonly sessionTimeout: number;
  /** Shorter than a session, so that no request survives by waiting for the end of one. */
  readonly requestTimeout: number;
}

export const SETTINGS_VARIABLE = 'REQUESTER_SETTINGS';
