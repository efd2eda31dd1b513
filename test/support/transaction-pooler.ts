import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import pg from 'pg';
import { databaseUrl } from './ledger-schema.js';

/** A connection of the pooler's own to Postgres. */
interface Backend {
  readonly client: pg.Client;
  readonly socket: Socket;
  /** Whom it works for. */
  owner: Session | undefined;
}

/** In the place of a protocol version. */
const CANCEL_REQUEST = 80_877_102;
const SYNC = 'S'.charCodeAt(0);
const SIMPLE_QUERY = 'Q'.charCodeAt(0);
const TERMINATE = 'X'.charCodeAt(0);
const READY_FOR_QUERY = 'Z'.charCodeAt(0);
const IDLE = 'I'.charCodeAt(0);

/** Cuts a stream of the protocol into messages: a type, a length that counts itself, and a body. */
class Messages {
  private rest = Buffer.alloc(0);

  /** @param typed `false` for the first message of a client, which has no type */
  *read(bytes: Buffer, typed: () => boolean): Generator<Buffer> {
    this.rest = Buffer.concat([this.rest, bytes]);
    for (;;) {
      const head = typed() ? 1 : 0;
      if (this.rest.length < head + 4) return;
      const end = head + this.rest.readInt32BE(head);
      if (this.rest.length < end) return;
      const message = this.rest.subarray(0, end);
      this.rest = this.rest.subarray(end);
      yield message;
    }
  }
}

/** A client of the pooler. */
class Session {
  started = false;
  backend: Backend | undefined;
  /** Messages that wait for a backend. */
  readonly waiting: Buffer[] = [];
  /** Answers that its backend still owes. */
  owed = 0;
  readonly messages = new Messages();

  /** @param id what it is told for its process id and key */
  constructor(
    readonly socket: Socket,
    readonly id: number,
  ) {}
}

/**
 * Shares a few connections among many clients, as PgBouncer does in transaction mode: whoever begins something gets the
 * backend that has rested longest, and keeps it until its transaction has ended. Nothing of a session outlives that.
 */
export class TransactionPooler {
  private readonly backends: Backend[] = [];
  private readonly sessions = new Set<Session>();
  private closed = false;
  private lastId = 0x7f7f0000;

  private constructor(private readonly server: Server) {}

  static async start(size = 3): Promise<TransactionPooler> {
    const server = createServer();
    const pooler = new TransactionPooler(server);
    for (let n = 0; n < size; n++) await pooler.connect();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    server.on('connection', (socket) => pooler.welcome(socket));
    return pooler;
  }

  get url(): string {
    const url = new URL(databaseUrl());
    url.hostname = '127.0.0.1';
    url.port = String((this.server.address() as AddressInfo).port);
    return url.href;
  }

  /** By which Postgres knows its connections. */
  get ports(): (number | undefined)[] {
    return this.backends.map(({ socket }) => socket.localPort);
  }

  async close(): Promise<void> {
    this.closed = true;
    const closed = new Promise<void>((resolve) => this.server.close(() => resolve()));
    for (const { socket } of [...this.sessions, ...this.backends]) socket.destroy();
    await closed;
  }

  private async connect(): Promise<void> {
    const client = new pg.Client(databaseUrl());
    client.on('error', () => undefined);
    await client.connect();
    const { stream: socket } = (client as unknown as { connection: { stream: Socket } }).connection;
    // From here on the bytes are ours.
    socket.removeAllListeners('data');
    const backend: Backend = { client, socket, owner: undefined };
    const messages = new Messages();
    socket.on('data', (bytes) => {
      for (const message of messages.read(bytes, () => true)) this.answer(backend, message);
    });
    socket.on('close', () => this.lost(backend));
    this.backends.push(backend);
    this.serve();
  }

  private lost(backend: Backend): void {
    this.backends.splice(this.backends.indexOf(backend), 1);
    backend.owner?.socket.destroy();
    if (!this.closed) void this.connect().catch(() => undefined);
  }

  private welcome(socket: Socket): void {
    const session = new Session(socket, ++this.lastId);
    this.sessions.add(session);
    socket.setNoDelay();
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.sessions.delete(session);
      // In the middle of something: nobody else may have what is left of it.
      session.backend?.socket.destroy();
    });
    socket.on('data', (bytes) => {
      for (const message of session.messages.read(bytes, () => session.started)) this.ask(session, message);
    });
  }

  private ask(session: Session, message: Buffer): void {
    if (!session.started && message.readInt32BE(4) === CANCEL_REQUEST) {
      this.cancel(message.readInt32BE(8));
      session.socket.end();
    } else if (!session.started) {
      session.started = true;
      session.socket.write(greeting(session.id));
    } else if (message[0] === TERMINATE) {
      session.socket.end();
    } else {
      session.waiting.push(message);
      this.serve();
    }
  }

  /** Hands a cancel request on to the backend that works for that session, if one does. */
  private cancel(id: number): void {
    const owner = [...this.sessions].find((session) => session.id === id);
    if (!owner?.backend) return;
    const { client } = owner.backend as unknown as { client: { processID: number; secretKey: number } };
    const { hostname, port } = new URL(databaseUrl());
    const socket = connect(Number(port) || 5432, hostname);
    socket.on('error', () => undefined);
    socket.end(int32s(16, CANCEL_REQUEST, client.processID, client.secretKey));
  }

  private serve(): void {
    for (const session of this.sessions) {
      if (session.waiting.length === 0) continue;
      session.backend ??= this.take(session);
      if (session.backend === undefined) continue;
      for (const message of session.waiting.splice(0)) {
        if (message[0] === SYNC || message[0] === SIMPLE_QUERY) session.owed++;
        session.backend.socket.write(message);
      }
    }
  }

  private take(session: Session): Backend | undefined {
    const index = this.backends.findIndex(({ owner }) => owner === undefined);
    if (index < 0) return undefined;
    const [backend] = this.backends.splice(index, 1);
    this.backends.push(backend!);
    backend!.owner = session;
    return backend;
  }

  private answer(backend: Backend, message: Buffer): void {
    const { owner } = backend;
    owner?.socket.write(message);
    if (!owner || message[0] !== READY_FOR_QUERY) return;
    owner.owed--;
    if (owner.owed > 0 || message[5] !== IDLE) return;
    backend.owner = undefined;
    owner.backend = undefined;
    this.serve();
  }
}

/** Authentication is fine, a process id and key of the pooler's own, ready. */
function greeting(id: number): Buffer {
  return Buffer.concat([
    Buffer.from('R'),
    int32s(8, 0),
    parameter('server_version', '18.0'),
    parameter('client_encoding', 'UTF8'),
    Buffer.from('K'),
    int32s(12, id, id),
    Buffer.from([READY_FOR_QUERY, 0, 0, 0, 5, IDLE]),
  ]);
}

function int32s(...values: number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4);
  for (const [index, value] of values.entries()) bytes.writeInt32BE(value | 0, index * 4);
  return bytes;
}

function parameter(name: string, value: string): Buffer {
  const body = Buffer.from(`${name}\0${value}\0`);
  const head = Buffer.from([0x53, 0, 0, 0, 0]);
  head.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
}
