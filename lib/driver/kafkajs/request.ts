import { BrokerUnreachableError } from '../../errors/errors.js';
import type { RawConnection } from './kafkajs-internals.js';
import { WireReader, WireWriter } from './wire.js';

export interface RequestDefinition<I, O> {
  send(connection: RawConnection, input: I): Promise<O>;
}

export interface RequestLayout<I, O> {
  readonly name: string;
  readonly apiKey: number;
  /** The versions that `write` and `read` know, best first. */
  readonly versions: readonly number[];
  write(writer: WireWriter, input: I, version: number): void;
  read(reader: WireReader, version: number, input: I): O;
  /** First version with compact types and tagged fields. Default: none. */
  readonly flexibleFrom?: number;
  /** Narrows the choice, for a version that needs something the input may lack. */
  usable?(version: number, input: I): boolean;
  /** Milliseconds that the broker may take, if longer than the client's `requestTimeout`. */
  timeout?(input: I): number;
  expectsResponse?(input: I): boolean;
  readonly initialSize?: number;
}

/** Makes a layout sendable, in the best version that both sides know. */
export function defineRequest<I, O>(layout: RequestLayout<I, O>): RequestDefinition<I, O> {
  const flexible = (version: number) => version >= (layout.flexibleFrom ?? Infinity);
  return {
    async send(connection, input) {
      const range = connection.versions[layout.apiKey];
      const apiVersion = layout.versions.find(
        (version) =>
          range !== undefined &&
          version >= range.minVersion &&
          version <= range.maxVersion &&
          (layout.usable?.(version, input) ?? true),
      );
      if (apiVersion === undefined) {
        throw new BrokerUnreachableError(
          `The broker speaks ${layout.name} in versions ${range ? `${range.minVersion} to ${range.maxVersion}` : 'none'}, ` +
            `this driver in ${layout.versions.join(', ')}. Upgrade the broker to Kafka 2.4 or later.`,
          { retryable: false },
        );
      }
      const writer = new WireWriter(layout.initialSize);
      // kafkajs writes the request header of the old kind; a flexible one only adds tagged fields at its end.
      if (flexible(apiVersion)) writer.noTags();
      layout.write(writer, input, apiVersion);
      const expectResponse = layout.expectsResponse?.(input) ?? true;
      const payload = await connection.send({
        apiKey: layout.apiKey,
        apiVersion,
        apiName: layout.name,
        body: writer.buffer,
        expectResponse,
        timeout: layout.timeout?.(input),
      });
      const reader = new WireReader(expectResponse ? payload : Buffer.alloc(0));
      if (expectResponse && flexible(apiVersion)) reader.tags();
      return layout.read(reader, apiVersion, input);
    },
  };
}
