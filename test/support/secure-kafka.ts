import { execFile } from 'node:child_process';
import { pbkdf2Sync, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readFile, realpath, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import type * as FreePort from '../../sample/servers/free-port.js';
import type * as JavaModule from '../../sample/servers/java.js';
import type * as ServersModule from '../../sample/servers/index.js';
import type { KafkaListener } from '../../sample/servers/kafka-properties.js';

export const USER = 'orders-service';
export const PASSWORD = 'correct horse';
/** Of the listener `brief`: how long a broker lets a connection live that does not authenticate again, in ms. */
export const BRIEF_SESSION = 13_000;
const STORE_PASSWORD = 'changeit';
const MODULES = {
  plain: `org.apache.kafka.common.security.plain.PlainLoginModule required user_${USER}="${PASSWORD}";`,
  scram: 'org.apache.kafka.common.security.scram.ScramLoginModule required;',
  oauth: 'org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;',
};
const MECHANISMS = [
  ['plain', MODULES.plain],
  ['scram-sha-256', MODULES.scram],
  ['scram-sha-512', MODULES.scram],
  ['oauthbearer', MODULES.oauth],
] as const;

/** A Kafka of the caller's own that asks who is there, on listeners with certificates of its own. */
export class SecureKafka {
  private constructor(
    private readonly folder: string,
    private readonly servers: ServersModule.Servers,
    /** In which only certificates of the client are good. */
    readonly mutualTls: string,
    /** TLS and each mechanism of SASL. */
    readonly sasl: string,
    /** The same, where sessions end after `BRIEF_SESSION`. */
    readonly brief: string,
    /** Its certificate, as PEM. */
    readonly ca: string,
    /** The client's key and certificate; `passphrase` opens it. */
    readonly pfx: Buffer,
    readonly passphrase: string,
  ) {}

  static async start(): Promise<SecureKafka> {
    const folder = await mkdtemp(join(tmpdir(), 'secure-kafka-'));
    try {
      return await SecureKafka.startIn(folder);
    } catch (error) {
      await rm(folder, { recursive: true });
      throw error;
    }
  }

  private static async startIn(folder: string): Promise<SecureKafka> {
    const { startServers } = await compiled<typeof ServersModule>('index.js');
    const { freePort } = await compiled<typeof FreePort>('free-port.js');
    const keys = await Keys.make(folder);
    const tls = {
      'ssl.keystore.type': 'PKCS12',
      'ssl.keystore.location': keys.server,
      'ssl.keystore.password': STORE_PASSWORD,
    };
    const sasl = {
      ...tls,
      'sasl.enabled.mechanisms': MECHANISMS.map(([mechanism]) => mechanism.toUpperCase()).join(),
      ...Object.fromEntries(MECHANISMS.map(([name, module]) => [`${name}.sasl.jaas.config`, module])),
      // Without a validator of one's own Kafka takes tokens that nobody has signed, for trials.
      'oauthbearer.sasl.server.callback.handler.class':
        'org.apache.kafka.common.security.oauthbearer.internals.unsecured.OAuthBearerUnsecuredValidatorCallbackHandler',
    };
    const truststore = {
      'ssl.client.auth': 'required',
      'ssl.truststore.type': 'PKCS12',
      'ssl.truststore.location': keys.trust,
      'ssl.truststore.password': STORE_PASSWORD,
    };
    const listeners: KafkaListener[] = [
      { name: 'MUTUAL', port: await freePort(), protocol: 'SSL', settings: { ...tls, ...truststore } },
      { name: 'SASL', port: await freePort(), protocol: 'SASL_SSL', settings: sasl },
      {
        name: 'BRIEF',
        port: await freePort(),
        protocol: 'SASL_SSL',
        settings: { ...sasl, 'connections.max.reauth.ms': BRIEF_SESSION },
      },
    ];
    const servers = await startServers({ need: ['kafka'], kafkaListeners: listeners });
    await addScramUser(servers.brokers[0]!, 1, 'sha256', 32);
    await addScramUser(servers.brokers[0]!, 2, 'sha512', 64);
    const [mutual, safe, brief] = listeners.map(({ port }) => `127.0.0.1:${port}`);
    const ca = await readFile(keys.certificate, 'utf8');
    const pfx = await readFile(keys.client);
    return new SecureKafka(folder, servers, mutual!, safe!, brief!, ca, pfx, STORE_PASSWORD);
  }

  /** The way in for everybody. */
  get open(): string {
    return this.servers.brokers[0]!;
  }

  async stop(): Promise<void> {
    await this.servers.stop();
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** Files of keys and certificates, made by the tool that comes with Java. */
class Keys {
  readonly server: string;
  readonly client: string;
  readonly trust: string;
  readonly certificate: string;

  private constructor(
    private readonly keytool: string,
    folder: string,
  ) {
    this.server = join(folder, 'server.p12');
    this.client = join(folder, 'client.p12');
    this.trust = join(folder, 'trust.p12');
    this.certificate = join(folder, 'server.pem');
  }

  static async make(folder: string): Promise<Keys> {
    const { findJava } = await compiled<typeof JavaModule>('java.js');
    const java = await findJava();
    if (typeof java === 'string') throw new Error(`Keys cannot be made: ${java}`);
    const keys = new Keys(join(dirname(await realpath(java.path)), 'keytool'), folder);
    await Promise.all([keys.pair(keys.server, 'broker'), keys.pair(keys.client, USER)]);
    await keys.certificateOf(keys.server, keys.certificate);
    const client = join(folder, 'client.pem');
    await keys.certificateOf(keys.client, client);
    await keys.run(keys.trust, '-importcert', '-noprompt', '-alias', 'client', '-file', client);
    return keys;
  }

  private pair(store: string, name: string): Promise<void> {
    const subject = ['-dname', `CN=${name}`, '-ext', 'san=ip:127.0.0.1,dns:localhost', '-validity', '2'];
    return this.run(store, '-genkeypair', '-alias', name, '-keyalg', 'EC', ...subject);
  }

  private async certificateOf(store: string, file: string): Promise<void> {
    await this.run(
      store,
      '-exportcert',
      '-rfc',
      '-file',
      file,
      '-alias',
      store === this.server ? 'broker' : USER,
    );
  }

  private async run(store: string, command: string, ...args: string[]): Promise<void> {
    const access = ['-keystore', store, '-storetype', 'PKCS12', '-storepass', STORE_PASSWORD];
    await promisify(execFile)(this.keytool, [command, ...access, ...args]);
  }
}

/** `AlterUserScramCredentials` for one of the hashes: kafkajs does not have it. */
async function addScramUser(
  broker: string,
  mechanism: number,
  digest: string,
  hashBytes: number,
): Promise<void> {
  const salt = randomBytes(24);
  const iterations = 4_096;
  const salted = pbkdf2Sync(PASSWORD, salt, iterations, hashBytes, digest);
  const kind = Buffer.alloc(5);
  kind.writeInt8(mechanism);
  kind.writeInt32BE(iterations, 1);
  const header = Buffer.from([0, 51, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 0]);
  const lists = Buffer.from([1, 2]); // nothing to delete, one to add
  const user = [compact(Buffer.from(USER)), kind, compact(salt), compact(salted), NO_TAGS];
  const request = Buffer.concat([header, lists, ...user, NO_TAGS]);
  const size = Buffer.alloc(4);
  size.writeInt32BE(request.length);

  const [host, port] = broker.split(':');
  const socket = connect(Number(port), host);
  socket.write(Buffer.concat([size, request]));
  const [answer] = (await once(socket, 'data')) as [Buffer];
  socket.destroy();
  // Before the result's code: size, id, tags, time of throttling, the number of results, and the user.
  const code = answer.readInt16BE(4 + 4 + 1 + 4 + 1 + 1 + USER.length);
  if (code !== 0) throw new Error(`The user of SCRAM was refused: error ${code}`);
}

const NO_TAGS = Buffer.from([0]);

/** Bytes as the flexible versions of Kafka's protocol have them: behind their number and one. */
function compact(bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.from([bytes.length + 1]), bytes]);
}

async function compiled<Exports>(file: string): Promise<Exports> {
  return (await import(new URL(`../../sample/dist/servers/${file}`, import.meta.url).href)) as Exports;
}
