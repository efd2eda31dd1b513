/** How a service is set up wrongly, or how its main file treats an error. */
export interface StartupSettings {
  readonly scenario: ScenarioName;
  readonly brokers: string[];
  readonly databaseUrl: string;
  readonly group: string;
  readonly topic: string;
  readonly schema: string;
  /**
   * `floating`: `void bootstrap()`, as in Nest's documentation. `caught`: prints the message, sets the exit code.
   * `own-handler`: as `floating`, with a handler for SIGTERM instead of Nest's shutdown hooks.
   */
  readonly main: 'floating' | 'caught' | 'own-handler';
}

export const SETTINGS_VARIABLE = 'STARTUP_SETTINGS';

export const SCENARIOS = [
  'fine',
  'broker unreachable',
  'broker name unknown',
  'broker unreachable for long',
  'database unreachable',
  'database password wrong',
  'database missing',
  'topic missing',
  'option unknown',
  'option misspelt in retry',
  'option value wrong',
  'option of a wrong kind',
  'durable option unknown',
  'connection missing',
  'two durable modules',
  'interceptor not reached',
  'built-in transport',
  'autoCommit true',
  'autoCommit false',
  'object pattern',
  'two message handlers',
  'pool too small',
  'heartbeat above session',
] as const;

export type ScenarioName = (typeof SCENARIOS)[number];
