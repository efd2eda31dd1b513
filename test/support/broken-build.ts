import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export interface Patch {
  /** A compiled file, from `dist`. */
  readonly file: string;
  /** Must occur exactly once. */
  readonly text: string;
  readonly by: string;
}

/**
 * Ways to lose or double messages that a library like this one is tempted by. Each is a few patches of the build, for the
 * ledger in Postgres and the one in memory alike.
 */
const PATCHES = {
  /** A record's offset counts as done when the record is taken in. */
  'offset-before-commit': [
    {
      file: 'consumption/partition-processor.js',
      text: 'this.tracker.add(record.offset, 1, record.leaderEpoch);',
      by: 'this.tracker.add(record.offset, 0, record.leaderEpoch);',
    },
  ],
  /** Keys and fence are committed in a transaction of their own before the handlers run in another. */
  'dedupe-before-handler': [
    {
      file: 'execution/execution-group.js',
      text: 'claim: (claim) => this.transaction.claim(claim),',
      by:
        'claim: async (claim) => {' +
        ' const early = this.ledger.transaction();' +
        ' const verdicts = await early.claim(claim);' +
        ' await early.commit({ releases: [], replies: [], outbox: [] });' +
        ' this.begun ??= this.transaction.begin(); await this.begun; return verdicts; },',
    },
    {
      file: 'execution/execution-group.js',
      text: '.filter(({ isComplete }) => !isComplete)',
      by: '.filter(() => false)',
    },
  ],
  /** Whoever once held a lane may move its fence. */
  'no-fence': [
    {
      file: 'postgres/lane-statements.js',
      text: 'where ${position} and epoch = $4::bigint\n',
      by: 'where ${position} and $4::bigint is not null\n',
    },
    {
      file: 'postgres/lane-statements.js',
      text: 'and epoch = $4::bigint and $5::bigint is null`',
      by: 'and $4::bigint is not null and $5::bigint is null`',
    },
    {
      file: 'testing/in-memory-transaction.js',
      text: 'if (stored === undefined || stored.epoch !== fence.epoch) {',
      by: 'if (stored === undefined) {',
    },
    {
      file: 'testing/in-memory-conclude.js',
      text: 'if (fence === undefined || fence.epoch !== epoch) {',
      by: 'if (fence === undefined) {',
    },
  ],
  /** Two handlers of a topic share keys and fences. */
  'key-without-handler': [
    {
      file: 'durable/lane-work.js',
      text: 'scope: { group: host.groupId, handler: handler.id }',
      by: "scope: { group: host.groupId, handler: 'any' }",
    },
  ],
  /** What was committed to the outbox and not produced before a crash is nobody's business afterwards. */
  'no-outbox-resume': [
    {
      file: 'execution/fence-registry.js',
      text: 'if (undispatched.length > 0)',
      by: 'if (undispatched.length < 0)',
    },
    {
      file: 'execution/ledger-keeper.js',
      text: 'const produce = this.producer();',
      by: 'const produce = undefined;',
    },
  ],
  /** Replies go out when the handler gives them. */
  'reply-before-commit': [
    {
      file: 'consumption/attempt.js',
      text: 'this.replies.push(reply);',
      by: '(this.replies.push(reply), this.published.push(this.publish(this.delivery, reply)));',
    },
  ],
} satisfies Record<string, readonly Patch[]>;

export type Bug = keyof typeof PATCHES;

export const BUGS = Object.keys(PATCHES) as readonly Bug[];

/** A package like this one, with a bug in it. */
export interface BrokenBuild {
  /**
   * Its folder. In it are `dist`, patched, and `test`, the compiled tests: programs among them that import
   * `nestjs-durable-kafka` by this name get the patched one. A program that imports `lib` by its path does not start.
   */
  readonly folder: string;
  remove(): Promise<void>;
}

/** A build with one of the bugs, see `createPatchedBuild`. */
export function createBrokenBuild(bug: Bug): Promise<BrokenBuild> {
  return createPatchedBuild(bug, PATCHES[bug]);
}

/**
 * Copies the build (`npm run build` must have been run) and puts a bug in. The copies find `node_modules` as the
 * original does.
 * @throws Error naming the patch whose text is not found exactly once: the code has changed, and the patch must follow.
 */
export async function createPatchedBuild(bug: string, patches: readonly Patch[]): Promise<BrokenBuild> {
  const root = packageRoot(dirname(fileURLToPath(import.meta.url)));
  const compiled = join(root, 'test', 'dist');
  const parent = join(compiled, 'broken');
  await mkdir(parent, { recursive: true });
  const folder = await mkdtemp(join(parent, `${bug}-`));
  const remove = () => rm(folder, { recursive: true, force: true });
  try {
    await cp(join(root, 'package.json'), join(folder, 'package.json'));
    await cp(join(root, 'dist'), join(folder, 'dist'), { recursive: true });
    const tests = join(compiled, 'test');
    if (existsSync(tests)) await cp(tests, join(folder, 'test'), { recursive: true });
    for (const patch of patches) await apply(bug, patch, join(folder, 'dist'));
  } catch (error) {
    await remove();
    throw error;
  }
  return { folder, remove };
}

async function apply(bug: string, { file, text, by }: Patch, dist: string): Promise<void> {
  const path = join(dist, file);
  const parts = (await readFile(path, 'utf8')).split(text);
  if (parts.length !== 2) {
    throw new Error(
      `The bug "${bug}" can't be put in: ${relative(dist, path)} holds "${text}" ${parts.length - 1} times, not once. ` +
        'The code has changed: let the patch follow it.',
    );
  }
  await writeFile(path, parts.join(by));
}

function packageRoot(from: string): string {
  return existsSync(join(from, 'package.json')) ? from : packageRoot(dirname(from));
}
