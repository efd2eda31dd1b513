import { execFile } from 'node:child_process';
import { chmod, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { eventually } from '../../support/eventually.js';
import { Program } from '../../support/program.js';

const program = new URL('../../../sample/dist/servers/cli.js', import.meta.url);
/** An address at which nobody listens: servers of these tests are processes of this machine. */
const noDocker = 'tcp://127.0.0.1:9';

describe('servers that are started on this machine', () => {
  let folder: string;
  let parent: Program;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'servers-'));
    await chmod(folder, 0o755); // Postgres may run as another user
  });

  afterEach(async () => {
    await parent.close();
    await eventually(async () => (await running()) === 0);
    await rm(folder, { recursive: true });
  });

  function start(env: Record<string, string> = {}): void {
    const none = { KAFKA_BROKERS: '', DATABASE_URL: '' };
    parent = new Program(program, { ...none, DOCKER_HOST: noDocker, TMPDIR: folder, ...env });
  }

  /** How many processes name a folder below ours. Both servers do: their data is there. */
  async function running(): Promise<number> {
    const { stdout } = await promisify(execFile)('ps', ['-A', '-ww', '-o', 'args='], { maxBuffer: 1 << 26 });
    return stdout.split('\n').filter((args) => args.includes(folder)).length;
  }

  const isGone = async () => (await running()) === 0 && (await readdir(folder)).length === 0;

  it.each(['SIGINT', 'SIGTERM', 'SIGKILL'] as const)(
    'end with the process that started them, by %s, and leave no data',
    async (signal) => {
      start();
      await parent.printed('export KAFKA_BROKERS=');
      expect(await running()).toBeGreaterThanOrEqual(2);

      parent.kill(signal);
      await parent.end(40_000);

      expect(parent.code).toBe(signal === 'SIGKILL' ? null : 0);
      await eventually(isGone);
    },
  );

  it('end as well where their parent is killed while they start', async () => {
    start();
    await eventually(async () => (await running()) > 0);
    parent.kill('SIGKILL');
    await eventually(isGone);
  });

  it('are missed with one error that names each way', async () => {
    start({ PATH: '/nonexistent', JAVA_HOME: '/nonexistent' });
    await parent.end(40_000);

    expect(parent.code).toBe(1);
    expect(parent.output).toBe(
      [
        'No Kafka. Any one of these is enough:',
        '  given   KAFKA_BROKERS is not set (host:port, comma-separated)',
        `  Docker  no Docker engine answers at ${noDocker} (ECONNREFUSED)`,
        '  local   no java (17 or later) in JAVA_HOME or on the PATH',
        '',
      ].join('\n'),
    );
    expect(await isGone()).toBe(true);
  });
});
