import type { DriverReadOptions } from '../driver.js';

export interface FetcherOptions {
  readonly maxWaitTime: number;
  readonly minBytes: number;
  readonly maxBytes: number;
  readonly maxBytesPerPartition: number;
  readonly readCommitted: boolean;
  readonly rackId: string;
}

export function fetcherOptions(options: DriverReadOptions): FetcherOptions {
  return {
    maxWaitTime: options.maxWaitTime ?? 5_000,
    minBytes: options.minBytes ?? 1,
    maxBytes: options.maxBytes ?? 10_485_760,
    maxBytesPerPartition: options.maxBytesPerPartition ?? 1_048_576,
    readCommitted: !options.readUncommitted,
    rackId: options.rackId ?? '',
  };
}
