/** The transport under which the bank's handlers run. */
export type Transport = 'built-in' | 'durable';

/** Names of one service in one run: two runs on the same servers never meet. */
export interface Names {
  readonly suffix: string;
  readonly topics: Topics;
  readonly groupId: string;
  /** Nest's server appends this to the group id. */
  readonly group: string;
  /** Postgres schema of the bank's own tables. */
  readonly bankSchema: string;
  /** Postgres schema of the library's tables. */
  readonly durableSchema: string;
}

export interface Topics {
  readonly transferRequested: string;
  readonly transferBooked: string;
  readonly balanceGet: string;
  readonly balanceReply: string;
}

/** @param run Lower-case letters and digits. */
export function namesOf(transport: Transport, run: string): Names {
  const suffix = `${transport}-${run}`;
  const groupId = `bank-${suffix}`;
  return {
    suffix,
    topics: topicsOf(suffix),
    groupId,
    group: `${groupId}-server`,
    bankSchema: `bank_${suffix.replaceAll('-', '_')}`,
    durableSchema: `durable_kafka_${run}`,
  };
}

export function topicsOf(suffix: string): Topics {
  const balanceGet = `balance.get.${suffix}`;
  return {
    transferRequested: `transfer.requested.${suffix}`,
    transferBooked: `transfer.booked.${suffix}`,
    balanceGet,
    balanceReply: `${balanceGet}.reply`,
  };
}
