/** What the supervisor tells a process of this bank. */
export interface Environment {
  readonly brokers: string[];
  /** Its search path is the schema of the bank's tables. */
  readonly databaseUrl: string;
  readonly groupId: string;
  /** Schema of the library's tables. */
  readonly durableSchema: string;
  readonly suffix: string;
  readonly sessionTimeoutMs: number;
}

/** Environment variables of a child process. */
export function toVariables(environment: Environment): Record<string, string> {
  return {
    KAFKA_BROKERS: environment.brokers.join(','),
    DATABASE_URL: environment.databaseUrl,
    BANK_GROUP: environment.groupId,
    BANK_DURABLE_SCHEMA: environment.durableSchema,
    BANK_SUFFIX: environment.suffix,
    BANK_SESSION_TIMEOUT: String(environment.sessionTimeoutMs),
  };
}

/** The other direction, in the child process. */
export function fromVariables(variables: NodeJS.ProcessEnv): Environment {
  const variable = (name: string): string => {
    const value = variables[name];
    if (!value) throw new Error(`${name} is not set: this program is started by sample/bank/main.ts.`);
    return value;
  };
  return {
    brokers: variable('KAFKA_BROKERS').split(','),
    databaseUrl: variable('DATABASE_URL'),
    groupId: variable('BANK_GROUP'),
    durableSchema: variable('BANK_DURABLE_SCHEMA'),
    suffix: variable('BANK_SUFFIX'),
    sessionTimeoutMs: Number(variable('BANK_SESSION_TIMEOUT')),
  };
}
