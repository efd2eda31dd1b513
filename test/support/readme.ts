import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

export const ROOT = fileURLToPath(new URL('../../', import.meta.url));

export interface CodeBlock {
  readonly language: string;
  readonly text: string;
  /** What a first line `// name.ts` says. */
  readonly file: string | undefined;
}

/** The fenced blocks of a Markdown text, in order. */
export function codeBlocks(markdown: string): CodeBlock[] {
  return [...markdown.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].map(([, language, text]) => ({
    language: language!,
    text: text!,
    file: /^\/\/ (\S+\.ts)\n/.exec(text!)?.[1],
  }));
}

/** The cells of the table that follows a line which contains `before`; without its head. Backticks stay. */
export function tableAfter(markdown: string, before: string): string[][] {
  const start = markdown.indexOf(before);
  if (start < 0) throw new Error(`There is no "${before}"`);
  const lines = markdown.slice(start).split('\n');
  const first = lines.findIndex((line) => line.startsWith('|'));
  const length = lines.slice(first).findIndex((line) => !line.startsWith('|'));
  return lines.slice(first + 2, first + length).map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}

/** What stands between backticks. */
export function names(cell: string): string[] {
  return [...cell.matchAll(/`([^`]+)`/g)].map(([, name]) => name!);
}

/** A folder inside the repository, where the package's own name leads to what was built. */
export class CompileFolder {
  private constructor(readonly path: string) {}

  static async create(): Promise<CompileFolder> {
    await readFile(join(ROOT, 'dist/index.d.ts')).catch(() => {
      throw new Error('There is no dist/: run "npm run build", the examples are compiled against it');
    });
    const cache = join(ROOT, '.cache');
    await mkdir(cache, { recursive: true });
    return new CompileFolder(await mkdtemp(join(cache, 'readme-')));
  }

  /** Type-checks the files by the library's own compiler options and writes JavaScript. Returns what is wrong. */
  async compile(files: ReadonlyMap<string, string>): Promise<string[]> {
    for (const [name, text] of files) await writeFile(join(this.path, name), text);
    const { config } = ts.readConfigFile(join(ROOT, 'tsconfig.json'), ts.sys.readFile) as {
      config: { compilerOptions: Record<string, unknown> };
    };
    const maps = { sourceMap: false, inlineSources: false };
    const overrides = { rootDir: this.path, outDir: this.path, declaration: false, ...maps };
    const { options } = ts.convertCompilerOptionsFromJson({ ...config.compilerOptions, ...overrides }, ROOT);
    const program = ts.createProgram(
      [...files.keys()].map((name) => join(this.path, name)),
      options,
    );
    const diagnostics = ts.getPreEmitDiagnostics(program);
    program.emit();
    return diagnostics.map(({ file, start, messageText }) => {
      const line = file && start !== undefined ? file.getLineAndCharacterOfPosition(start).line + 1 : 0;
      return `${file?.fileName.split('/').at(-1)}:${line} ${ts.flattenDiagnosticMessageText(messageText, '\n')}`;
    });
  }

  async dispose(): Promise<void> {
    await rm(this.path, { recursive: true, force: true });
  }
}

/** Names of the properties of an exported interface of lib, inherited ones included. */
export function propertiesOf(file: string, name: string): string[] {
  const { config } = ts.readConfigFile(join(ROOT, 'tsconfig.json'), ts.sys.readFile) as {
    config: { compilerOptions: Record<string, unknown> };
  };
  const { options } = ts.convertCompilerOptionsFromJson(config.compilerOptions, ROOT);
  const program = ts.createProgram([join(ROOT, file)], options);
  const checker = program.getTypeChecker();
  const module = checker.getSymbolAtLocation(program.getSourceFile(join(ROOT, file))!)!;
  const symbol = checker.getExportsOfModule(module).find((each) => each.name === name);
  if (!symbol) throw new Error(`${file} exports no ${name}`);
  return checker.getPropertiesOfType(checker.getDeclaredTypeOfSymbol(symbol)).map((each) => each.name);
}
