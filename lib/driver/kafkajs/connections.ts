import type { Kafka, RetryOptions } from 'kafkajs';
import { BrokerUnreachableError, ConnectionClosedError } from '../../errors/errors.js';
import { sleep, type Clock } from '../../runtime/clock.js';
import { isFatalConnectionError, isTimeout, unreachable } from './errors.js';
import { openDoor, type KafkajsDoor, type RawConnection } from './kafkajs-internals.js';
import { METADATA, type ClusterMetadata } from './metadata-request.js';
import type { NodeAddress } from './node-address.js';
import { ProtocolError } from './protocol-error.js';
import type { RequestDefinition } from './request.js';

/** Each purpose has its own socket: a broker answers one request of a connection at a time, and some block for seconds. */
export type Purpose = 'control' | 'coordinator' | 'fetch' | 'fetch-aside' | 'produce';

/** A client's sockets to the brokers of one cluster, opened when first needed. */
export class Connections {
  readonly door: KafkajsDoor;
  private readonly open = new Map<string, RawConnection>();
  private readonly closing = new Set<Promise<void>>();
  private nodes = new Map<number, NodeAddress>();
  private seed: RawConnection | undefined;
  private abort = new AbortController();

  constructor(
    kafka: Kafka,
    private readonly retry: RetryOptions | undefined,
    private readonly clock: Clock,
  ) {
    this.door = openDoor(kafka);
  }

  /** Wall clock, for events. */
  now(): number {
    return this.clock.now();
  }

  /**
   * Reaches any one of the configured brokers, with the retries of the client's configuration.
   * @throws BrokerUnreachableError
   */
  async connect(): Promise<void> {
    this.abort = new AbortController();
    const { signal } = this.abort;
    const retries = this.retry?.retries ?? 5;
    let wait = this.retry?.initialRetryTime ?? 300;
    for (let attempt = 0; ; attempt++) {
      try {
        await this.seedConnection();
        return;
      } catch (error) {
        if (signal.aborted || attempt >= retries || isFatalConnectionError(error)) throw unreachable(error);
        await sleep(this.clock, wait, signal);
        wait = Math.min(wait * (this.retry?.multiplier ?? 2), this.retry?.maxRetryTime ?? 30_000);
      }
    }
  }

  /** Of the topics, or of all that exist. With `create`, brokers that are set up so create what is missing. */
  async metadata(topics: readonly string[] | null, create = false): Promise<ClusterMetadata> {
    const metadata = await this.sendToAny(METADATA, { topics, create });
    if (metadata.nodes.length === 0) return metadata;
    this.nodes = new Map(metadata.nodes.map((node) => [node.nodeId, node]));
    // The nodes' own connections take over; an idle one would be closed by the broker anyway.
    this.dropSeed();
    return metadata;
  }

  /** Asks one known broker after the other until one can be reached, and the configured ones in the end. */
  async sendToAny<I, O>(request: RequestDefinition<I, O>, input: I): Promise<O> {
    for (const { nodeId } of this.shuffledNodes()) {
      try {
        return await this.send(nodeId, 'control', request, input);
      } catch (error) {
        if (error instanceof ProtocolError || error instanceof ConnectionClosedError) throw error;
      }
    }
    try {
      return await request.send(await this.seedConnection(), input);
    } catch (error) {
      if (error instanceof ProtocolError) throw error;
      this.dropSeed();
      throw unreachable(error);
    }
  }

  /** Sends over the socket for `purpose`. A connection that failed is thrown away and built anew by the next call. */
  async send<I, O>(
    node: number | NodeAddress,
    purpose: Purpose,
    request: RequestDefinition<I, O>,
    input: I,
  ): Promise<O> {
    const address = typeof node === 'number' ? this.address(node) : node;
    const key = `${address.nodeId} ${address.host}:${address.port} ${purpose}`;
    let connection = this.open.get(key);
    if (!connection) {
      const created = await this.door.connection(address);
      this.throwIfClosed();
      connection = this.open.get(key) ?? created;
      this.open.set(key, connection);
    }
    try {
      await connection.open();
      this.throwIfClosed();
      return await request.send(connection, input);
    } catch (error) {
      // A socket whose other end is gone without a word looks open: what timed out on it is not tried there again.
      if ((!connection.isOpen || isTimeout(error)) && this.open.get(key) === connection) {
        this.open.delete(key);
        this.close(connection);
      }
      throw error;
    }
  }

  /** Drops every socket at once, whatever is in flight. `connect` may follow. */
  async disconnect(): Promise<void> {
    this.abort.abort();
    for (const connection of this.open.values()) this.close(connection);
    this.open.clear();
    this.dropSeed();
    this.nodes.clear();
    while (this.closing.size > 0) await Promise.all(this.closing);
  }

  private address(nodeId: number): NodeAddress {
    const address = this.nodes.get(nodeId);
    if (!address) throw new BrokerUnreachableError(`Broker ${nodeId} is not in the cluster's metadata`);
    return address;
  }

  private shuffledNodes(): NodeAddress[] {
    const nodes = [...this.nodes.values()];
    const start = Math.floor(this.clock.random() * nodes.length);
    return [...nodes.slice(start), ...nodes.slice(0, start)];
  }

  private async seedConnection(): Promise<RawConnection> {
    const seed = (this.seed ??= await this.door.connection());
    try {
      await seed.open();
      this.throwIfClosed();
      return seed;
    } catch (error) {
      // kafkajs hands out the configured brokers in turn, so the next attempt goes to another one.
      this.dropSeed();
      throw error;
    }
  }

  private dropSeed(): void {
    if (this.seed) this.close(this.seed);
    this.seed = undefined;
  }

  private close(connection: RawConnection): void {
    const closed = connection
      .close(new ConnectionClosedError('The connection to the broker was closed'))
      .catch(() => undefined)
      .finally(() => this.closing.delete(closed));
    this.closing.add(closed);
  }

  private throwIfClosed(): void {
    if (this.abort.signal.aborted) throw new ConnectionClosedError('The Kafka client was disconnected');
  }
}
