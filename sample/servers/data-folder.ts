import { chmod, mkdir, mkdtemp, readdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { Guard } from './guard.js';

const marker = '.nestjs-durable-kafka-servers';

/** The folder of one run's local servers, made when the first of them asks for it. */
export class DataFolder {
  private made: Promise<string> | undefined;

  constructor(
    private readonly guard: Guard,
    private readonly keep: boolean,
    private readonly given: string | undefined,
  ) {}

  /** Path of the folder. Rejects if the given folder holds something that is not ours: it would be removed later. */
  path(): Promise<string> {
    return (this.made ??=
      this.given === undefined ? this.makePrivate() : this.takeGiven(resolve(this.given)));
  }

  private async makePrivate(): Promise<string> {
    const folder = await mkdtemp(join(tmpdir(), 'nestjs-durable-kafka-'));
    if (!this.keep) this.guard.folder(folder);
    await this.open(folder);
    return folder;
  }

  private async takeGiven(folder: string): Promise<string> {
    await mkdir(folder, { recursive: true });
    const names = await readdir(folder);
    if (names.length > 0 && !names.includes(marker))
      throw new Error(
        `dataDir ${folder} is neither empty nor a data folder of startServers(): name another one.`,
      );
    await writeFile(join(folder, marker), '');
    if (!this.keep) this.guard.folder(folder);
    await this.open(folder);
    return folder;
  }

  /** Postgres, which runs as somebody else when we are root, has to get at its own folder inside. */
  private async open(folder: string): Promise<void> {
    await chmod(folder, process.getuid?.() === 0 ? 0o711 : 0o700);
  }
}
