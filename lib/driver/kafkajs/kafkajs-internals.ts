/**
 * The one file that reaches into what kafkajs does not type. `partitionAssigners` is the official door: its factory
 * is called synchronously inside `kafka.consumer()` and is handed the cluster, from which we take what builds,
 * authenticates and drives connections. kafkajs is unmaintained at 2.2.4, so this is pinned in effect; `openDoor`
 * fails clearly if anything that is used is not there.
 */
import type { Socket } from 'node:net';
import type { Cluster, Kafka, Logger } from 'kafkajs';

export interface ApiVersionRange {
  readonly minVersion: number;
  readonly maxVersion: number;
}

export interface RawRequest {
  readonly apiKey: number;
  readonly apiVersion: number;
  readonly apiName: string;
  readonly body: Buffer;
  /** `false` for a produce request that asks for no acknowledgement. */
  readonly expectResponse: boolean;
  /** Milliseconds; only ever lengthens the `requestTimeout` of the client's configuration. */
  readonly timeout?: number | undefined;
}

/** Requests that wait for a broker which throttles, or has too many in flight. */
interface InternalRequestQueue {
  readonly pending: readonly unknown[];
  scheduleCheckPendingRequests(): void;
}

interface InternalConnection {
  socket?: Socket;
  readonly requestQueue: InternalRequestQueue;
  logError: (message: string) => void;
  isConnected(): boolean;
  rejectRequests(error: Error): void;
  send(protocol: unknown): Promise<unknown>;
}

interface InternalConnectionPool {
  readonly pool: readonly InternalConnection[];
}

interface InternalBroker {
  readonly connectionPool: InternalConnectionPool;
  readonly versions: Record<number, ApiVersionRange> | null;
  isConnected(): boolean;
  connect(): Promise<void>;
  disconnect(): Promise<void>;
}

interface InternalCluster extends Cluster {
  readonly brokerPool: {
    readonly rootLogger: Logger;
    createBroker(options: {
      connectionPool: InternalConnectionPool;
      logger: Logger;
      nodeId?: number;
    }): InternalBroker;
  };
  readonly connectionPoolBuilder: {
    build(destination?: { host: string; port: number; rack?: string }): Promise<InternalConnectionPool>;
  };
}

export interface KafkajsDoor {
  /** For kafkajs' own partition assigners. */
  readonly cluster: Cluster;
  readonly logger: Logger;
  /** What `cluster.findTopicPartitionMetadata` tells kafkajs' assigners from now on: its own metadata is never loaded. */
  showPartitions(partitions: ReadonlyMap<string, readonly number[]>): void;
  /** A connection that is not open yet; without a destination to the next of the configured brokers. */
  connection(destination?: { host: string; port: number; nodeId: number }): Promise<RawConnection>;
}

/** One socket to one broker, with kafkajs' TLS, SASL, request timeouts and reconnects. */
export class RawConnection {
  private connecting: Promise<void> | undefined;

  constructor(private readonly broker: InternalBroker) {}

  get isOpen(): boolean {
    return this.broker.isConnected();
  }

  /** API keys with the versions that this broker speaks; empty before `open`. */
  get versions(): Readonly<Record<number, ApiVersionRange>> {
    return this.broker.versions ?? {};
  }

  /** Connects and authenticates. Callers at the same time share one attempt: kafkajs would open a socket for each. */
  open(): Promise<void> {
    // The socket is open before versions and credentials are exchanged.
    if (!this.connecting && this.broker.isConnected()) return Promise.resolve();
    this.connecting ??= this.connect().finally(() => {
      this.connecting = undefined;
    });
    return this.connecting;
  }

  private async connect(): Promise<void> {
    await this.broker.connect();
    // kafkajs leaves Nagle's algorithm on: a request behind another one would wait until the broker's TCP acknowledges
    // that, which it may put off for 40 ms. Sockets of a user's own making need not be TCP.
    (this.connection.socket as Partial<Socket> | undefined)?.setNoDelay?.(true);
  }

  /** The response's body, after the correlation id. */
  async send({ apiKey, apiVersion, apiName, body, expectResponse, timeout }: RawRequest): Promise<Buffer> {
    const payload = { buf: body, buffer: body };
    return (await this.connection.send({
      request: {
        apiKey,
        apiVersion,
        apiName,
        encode: () => payload,
        expectResponse: () => expectResponse,
      },
      response: { decode: (bytes: Buffer) => Promise.resolve(bytes), parse: (bytes: Buffer) => bytes },
      requestTimeout: timeout ?? null,
      logResponseError: false,
    })) as Buffer;
  }

  /** Rejects what is in flight and destroys the socket: `disconnect` of kafkajs would wait for a long poll. */
  async close(reason: Error): Promise<void> {
    if (this.connecting) {
      // A broker that takes connections and says nothing would have `requestTimeout`, most of what a container has to end.
      // It is no error to anybody, as kafkajs would have it.
      this.connection.logError = () => undefined;
      this.connection.rejectRequests(reason);
      this.connection.socket?.destroy(reason);
      await this.connecting.catch(() => undefined);
    }
    this.connection.rejectRequests(reason);
    this.connection.socket?.destroy();
    await this.broker.disconnect();
  }

  // Only the first connection of the pool of two is ever used: each of our connections has one purpose.
  private get connection(): InternalConnection {
    return this.broker.connectionPool.pool[0]!;
  }
}

/** @throws Error if this version of kafkajs is not built as expected. */
export function openDoor(kafka: Kafka): KafkajsDoor {
  let captured: { cluster: Cluster; logger: Logger } | undefined;
  kafka.consumer({
    groupId: 'door',
    partitionAssigners: [
      ({ cluster, logger }) => {
        captured = { cluster, logger };
        return { name: '', version: 0, assign: () => Promise.resolve([]), protocol: () => NO_PROTOCOL };
      },
    ],
  });
  const cluster = captured?.cluster as InternalCluster | undefined;
  if (
    !captured ||
    typeof cluster?.brokerPool?.createBroker !== 'function' ||
    typeof cluster.connectionPoolBuilder?.build !== 'function'
  ) {
    throw unexpected('its cluster has no brokerPool.createBroker or connectionPoolBuilder.build');
  }
  const { brokerPool, connectionPoolBuilder } = cluster;
  return {
    cluster,
    logger: captured.logger,
    showPartitions(partitions) {
      cluster.findTopicPartitionMetadata = (topic) =>
        (partitions.get(topic) ?? []).map((partitionId) => ({
          ...{ partitionErrorCode: 0, partitionId, leader: 0, replicas: [], isr: [], offlineReplicas: [] },
        }));
    },
    async connection(destination) {
      const connectionPool = await connectionPoolBuilder.build(destination);
      const broker = brokerPool.createBroker({
        connectionPool,
        logger: brokerPool.rootLogger,
        ...(destination && { nodeId: destination.nodeId }),
      });
      const connection = broker?.connectionPool?.pool?.[0];
      if (
        typeof connection?.send !== 'function' ||
        typeof connection.rejectRequests !== 'function' ||
        typeof connection.requestQueue?.scheduleCheckPendingRequests !== 'function' ||
        typeof broker.connect !== 'function' ||
        typeof broker.disconnect !== 'function'
      ) {
        throw unexpected(
          'its brokers or connections lack connect, disconnect, send, rejectRequests or a queue',
        );
      }
      checkOnlyWhatWaits(connection.requestQueue);
      return new RawConnection(broker);
    },
  };
}

/**
 * From the first response on, kafkajs looks every millisecond whether requests wait, and asks for timers in the past, of
 * which Node 24 warns.
 */
function checkOnlyWhatWaits(queue: InternalRequestQueue): void {
  const schedule = queue.scheduleCheckPendingRequests.bind(queue);
  queue.scheduleCheckPendingRequests = () => {
    if (queue.pending.length > 0) schedule();
  };
}

const NO_PROTOCOL = { name: '', metadata: Buffer.alloc(0) };

function unexpected(what: string): Error {
  return new Error(`This version of kafkajs is not supported: ${what}. Install kafkajs 2.2.4.`);
}
