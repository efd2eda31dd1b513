import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { ERROR_CODES } from '../../lib/errors/kafka-transport.error.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const LIB = join(ROOT, 'lib');

/** Layers with what they may import, from the ground up. An arrow that is not here runs up or sideways. */
const LAYERS: Readonly<Record<string, readonly string[]>> = {
  runtime: [],
  errors: ['runtime'],
  messages: ['errors', 'runtime'],
  driver: ['messages', 'errors', 'runtime'],
  consumption: ['driver', 'messages', 'errors', 'runtime'],
  execution: ['messages', 'errors', 'runtime'],
  postgres: ['execution', 'messages', 'errors', 'runtime'],
  transport: ['consumption', 'driver', 'messages', 'errors', 'runtime'],
  durable: ['transport', 'postgres', 'execution', 'consumption', 'messages', 'errors', 'runtime'],
  testing: ['execution', 'consumption', 'driver', 'messages', 'errors', 'runtime'],
  'register.ts': ['transport'],
  'index.ts': [
    'durable',
    'transport',
    'postgres',
    'execution',
    'consumption',
    'messages',
    'errors',
    'runtime',
  ],
};

/** Who may import which package. Types count: a signature that names a client's type depends on the client. */
const PACKAGES: readonly { name: RegExp; allowedIn: RegExp }[] = [
  { name: /^@nestjs\//, allowedIn: /^(?:transport\/|durable\/|register\.ts$)/ },
  { name: /^rxjs(?:\/|$)/, allowedIn: /^(?:transport|durable)\// },
  { name: /^kafkajs(?:\/|$)/, allowedIn: /^driver\/kafkajs\// },
  { name: /^pg(?:-|\/|$)/, allowedIn: /^postgres\// },
  { name: /^node:/, allowedIn: /./ },
];

/** The one place outside a driver's folder that chooses a driver. */
const DRIVER_CHOICE = { from: 'transport/default-driver.ts', to: 'driver/kafkajs/kafkajs-driver.ts' };

const SOFT_LIMIT = 300;
const HARD_LIMIT = 400;
/** Files above the soft limit, and why splitting them would make them worse. */
const LONG_FILES: Readonly<Record<string, string>> = {
  'durable/group-enlistment.ts': "the one place where the engine's group and the ledger's meet",
  'driver/kafkajs/batch-sender.ts':
    'one state per partition in flight: order, retries and sequence numbers belong together',
  'driver/kafkajs/consumer.ts': 'wires member, topology and fetcher; each of its methods is short',
  'driver/kafkajs/group-member.ts': 'the group protocol as one state machine',
  'driver/kafkajs/fetcher.ts': 'one loop over the partitions of a broker, whose tickets every method checks',
  'postgres/postgres-transaction.ts':
    'one transaction from claim to end: each step needs what those before it left',
  'testing/in-memory-transaction.ts': 'the same, in memory',
  'testing/in-memory-kafka/in-memory-consumer.ts': 'the whole consumer port in one class',
  'transport/server-kafka.ts': 'wires the parts of a server; each of its methods is short',
  'transport/client-kafka.proxy.ts': "the whole surface of Nest's client in one class",
};

/** Cycles that types alone close: two things that describe each other. Nothing of them is left at run time. */
const TYPE_CYCLES: readonly string[][] = [['consumption/attempt.ts', 'consumption/group.ts']];

interface Import {
  readonly specifier: string;
  /** Nothing of it is left at run time. */
  readonly typeOnly: boolean;
}

interface SourceFile {
  /** Relative to lib, with `/`. */
  readonly path: string;
  readonly layer: string;
  readonly lines: number;
  readonly imports: readonly Import[];
  readonly syntax: ts.SourceFile;
}

const files = readSourceFiles();

describe('the architecture of lib', () => {
  it('knows every layer', () => {
    expect([...new Set(files.map(({ layer }) => layer))].sort()).toEqual(Object.keys(LAYERS).sort());
  });

  it('runs its arrows down only', () => {
    const wrong = ownImports().filter(
      ({ from, to }) => from.layer !== to.layer && !LAYERS[from.layer]!.includes(to.layer),
    );
    expect(wrong.map(arrow)).toEqual([]);
  });

  it.each(PACKAGES)('imports $name only where it belongs', ({ name, allowedIn }) => {
    const wrong = files.filter(
      ({ path, imports }) => !allowedIn.test(path) && imports.some(({ specifier }) => name.test(specifier)),
    );
    expect(wrong.map(({ path }) => path)).toEqual([]);
  });

  it('imports no other packages', () => {
    const names = files.flatMap(({ imports }) => imports.map(({ specifier }) => specifier));
    const foreign = names.filter(
      (name) => !name.startsWith('.') && !PACKAGES.some((each) => each.name.test(name)),
    );
    expect(foreign).toEqual([]);
  });

  it('reaches a driver through its port only', () => {
    const wrong = ownImports().filter(
      ({ from, to }) =>
        from.layer !== 'driver' &&
        to.layer === 'driver' &&
        to.path !== 'driver/driver.ts' &&
        !(from.path === DRIVER_CHOICE.from && to.path === DRIVER_CHOICE.to),
    );
    expect(wrong.map(arrow)).toEqual([]);
  });

  it("has nobody import an index.ts of lib's own", () => {
    const wrong = ownImports().filter(({ to }) => to.path.endsWith('index.ts'));
    expect(wrong.map(arrow)).toEqual([]);
  });

  it('has no import cycles', () => {
    expect(cycles(({ typeOnly }) => !typeOnly)).toEqual([]);
  });

  it('has no other cycles of types than the known ones', () => {
    expect(cycles(() => true)).toEqual(TYPE_CYCLES);
  });

  it('keeps files short', () => {
    const long = files.filter(({ lines }) => lines > SOFT_LIMIT).map(({ path }) => path);
    expect(long.filter((path) => !(path in LONG_FILES))).toEqual([]);
    const tooLong = files.filter(({ lines }) => lines > HARD_LIMIT).map(({ path }) => path);
    expect(tooLong).toEqual([]);
  });
});

describe('the errors of lib', () => {
  const classes = errorClasses();

  it('are found', () => {
    expect(classes.length).toBeGreaterThan(20);
  });

  it('are all defined in lib/errors', () => {
    expect(classes.filter(({ path }) => path !== 'errors/errors.ts').map(({ name }) => name)).toEqual([]);
  });

  it('carry a code of the closed list, each its own', () => {
    const coded = classes.filter(({ parent }) => parent === 'KafkaTransportError');
    const codes = coded.map(({ code }) => code);
    expect(codes.filter((code) => !(ERROR_CODES as readonly (string | undefined)[]).includes(code))).toEqual(
      [],
    );
    expect(codes.filter((code, index) => codes.indexOf(code) !== index)).toEqual([]);
    expect([...codes].sort()).toEqual([...ERROR_CODES].sort());
  });
});

function readSourceFiles(): SourceFile[] {
  return readdirSync(LIB, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => name.replaceAll('\\', '/'))
    .sort()
    .map((path) => {
      const text = readFileSync(join(LIB, path), 'utf8');
      const syntax = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
      const lines = text.replace(/\n$/, '').split('\n').length;
      return { path, layer: path.split('/')[0]!, lines, imports: importsOf(syntax), syntax };
    });
}

function importsOf(syntax: ts.SourceFile): Import[] {
  const imports: Import[] = [];
  const visit = (node: ts.Node): void => {
    if ((ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) && node.moduleSpecifier) {
      const specifier = (node.moduleSpecifier as ts.StringLiteral).text;
      imports.push({ specifier, typeOnly: isTypeOnly(node) });
    } else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) {
      imports.push({ specifier: (node.argument.literal as ts.StringLiteral).text, typeOnly: true });
    } else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      imports.push({ specifier: (node.arguments[0] as ts.StringLiteral).text, typeOnly: false });
    }
    ts.forEachChild(node, visit);
  };
  visit(syntax);
  return imports;
}

/** `import type { A }`, and `import { type A }`, which TypeScript drops as well. */
function isTypeOnly(node: ts.ImportDeclaration | ts.ExportDeclaration): boolean {
  if (ts.isExportDeclaration(node)) {
    const { exportClause } = node;
    if (node.isTypeOnly) return true;
    return (
      exportClause !== undefined &&
      ts.isNamedExports(exportClause) &&
      exportClause.elements.every((each) => each.isTypeOnly)
    );
  }
  const { importClause } = node;
  if (!importClause) return false;
  if (importClause.phaseModifier === ts.SyntaxKind.TypeKeyword) return true;
  const { name, namedBindings } = importClause;
  return (
    name === undefined &&
    namedBindings !== undefined &&
    ts.isNamedImports(namedBindings) &&
    namedBindings.elements.every((element) => element.isTypeOnly)
  );
}

interface OwnImport {
  readonly from: SourceFile;
  readonly to: SourceFile;
  readonly typeOnly: boolean;
}

/** Imports of one file of lib by another. */
function ownImports(): OwnImport[] {
  const byPath = new Map(files.map((file) => [file.path, file]));
  return files.flatMap((from) =>
    from.imports
      .filter(({ specifier }) => specifier.startsWith('.'))
      .map(({ specifier, typeOnly }) => {
        const target = resolve(LIB, dirname(from.path), specifier.replace(/\.js$/, '.ts'));
        const to = byPath.get(relative(LIB, target).replaceAll('\\', '/'));
        if (!to) throw new Error(`${from.path} imports ${specifier}, which is no file of lib`);
        return { from, to, typeOnly };
      }),
  );
}

function arrow({ from, to }: OwnImport): string {
  return `${from.path} -> ${to.path}`;
}

/** The strongly connected components of more than one file, by Tarjan's algorithm. */
function cycles(counts: (one: OwnImport) => boolean): string[][] {
  const targets = new Map<string, string[]>(files.map(({ path }) => [path, []]));
  for (const one of ownImports()) if (counts(one)) targets.get(one.from.path)!.push(one.to.path);
  const found: string[][] = [];
  const indices = new Map<string, number>();
  const lowest = new Map<string, number>();
  const stack: string[] = [];
  const connect = (path: string): void => {
    indices.set(path, indices.size);
    lowest.set(path, indices.get(path)!);
    stack.push(path);
    for (const target of targets.get(path)!) {
      if (!indices.has(target)) connect(target);
      else if (!stack.includes(target)) continue;
      lowest.set(path, Math.min(lowest.get(path)!, lowest.get(target)!));
    }
    if (lowest.get(path) !== indices.get(path)) return;
    const component = stack.splice(stack.indexOf(path));
    if (component.length > 1 || targets.get(path)!.includes(path)) found.push(component.sort());
  };
  for (const { path } of files) if (!indices.has(path)) connect(path);
  return found.sort((left, right) => (left[0]! < right[0]! ? -1 : 1));
}

interface ErrorClass {
  readonly path: string;
  readonly name: string;
  readonly parent: string;
  /** What its constructor hands to `super` first. */
  readonly code: string | undefined;
}

/** Classes that descend from `KafkaTransportError`. */
function errorClasses(): ErrorClass[] {
  const all = files.flatMap(({ path, syntax }) => classesOf(syntax).map((each) => ({ path, ...each })));
  const family = new Set(['KafkaTransportError']);
  for (let size = 0; size !== family.size;) {
    size = family.size;
    for (const { name, parent } of all) if (family.has(parent)) family.add(name);
  }
  return all.filter(({ parent }) => family.has(parent));
}

function classesOf(syntax: ts.SourceFile): Omit<ErrorClass, 'path'>[] {
  const found: Omit<ErrorClass, 'path'>[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isClassLike(node)) {
      const parent = node.heritageClauses?.find(({ token }) => token === ts.SyntaxKind.ExtendsKeyword)
        ?.types[0];
      if (parent)
        found.push({
          name: node.name?.text ?? '',
          parent: parent.expression.getText(),
          code: superCode(node),
        });
    }
    ts.forEachChild(node, visit);
  };
  visit(syntax);
  return found;
}

function superCode(node: ts.Node): string | undefined {
  if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.SuperKeyword) {
    const [first] = node.arguments;
    return first && ts.isStringLiteral(first) ? first.text : undefined;
  }
  return ts.forEachChild(node, superCode);
}
