import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import * as errors from '../../lib/errors/errors.js';
import * as main from '../../lib/index.js';
import * as testing from '../../lib/testing/index.js';

const LIB = fileURLToPath(new URL('../../lib/', import.meta.url));

/** Types in public signatures that users are not meant to name, and why. */
const UNNAMED: Readonly<Record<string, string>> = {
  KafkaDriver: 'a port, no public API',
  Ledger: 'a port, no public API',
  PostgresLedgerOptions: "a field of DurableModuleOptions: `DurableModuleOptions['connection']`",
  KafkaClientEntry: 'what ClientsModule.register() takes',
  GroupAssigner: 'of the port to a driver',
  AssignerMember: 'of the port to a driver',
  TopicPartition: 'of the port to a driver',
  DriverProducer: 'of the port to a driver',
  ServerExtension: 'for modules of this package',
  ServerSeat: 'for modules of this package',
  Attempt: 'for this package, which hands contexts out',
  NestOptions: "Nest's own",
  ResolvedOptions: 'its `brokers` alone, as in `KafkaTransportOptions`',
};

const program = ts.createProgram([join(LIB, 'index.ts')], {
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
  target: ts.ScriptTarget.ES2022,
  experimentalDecorators: true,
  noLib: true,
});
const checker = program.getTypeChecker();

function resolved(symbol: ts.Symbol): ts.Symbol {
  return symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
}

/** Names in the signatures of a declaration, without bodies, private members and what Nest alone calls. */
function* namedTypes(node: ts.Node): Generator<ts.Symbol> {
  if (ts.isBlock(node) || ts.isDecorator(node) || ts.isConstructorDeclaration(node)) return;
  if (ts.isPropertyDeclaration(node) && (!node.type || ts.isPrivateIdentifier(node.name))) return;
  const modifiers = ts.canHaveModifiers(node) ? (ts.getModifiers(node) ?? []) : [];
  if (modifiers.some(({ kind }) => kind === ts.SyntaxKind.PrivateKeyword)) return;
  if (ts.isTypeReferenceNode(node)) {
    const symbol = checker.getSymbolAtLocation(node.typeName);
    if (symbol) yield resolved(symbol);
  }
  for (const child of node.getChildren()) yield* namedTypes(child);
}

describe('The public names', () => {
  it('of the package are those that are promised, with every error', () => {
    const promised = [
      'ServerKafka',
      'ClientKafkaProxy',
      'kafkaServer',
      'kafkaClient',
      'KafkaDeliveryContext',
      'ReplyPartitionAssigner',
      'KafkaMaxRetryExceptionFilter',
      'KafkaTerminalException',
      'KafkaTransportError',
      'DurableModule',
      'DurableInterceptor',
      'Durable',
      'NotDurable',
      'DurableExecution',
      'DurablePool',
      'DurableLedger',
    ];
    expect(Object.keys(main).sort()).toEqual([...promised, ...Object.keys(errors)].sort());
  });

  it('of /testing are the two in memory and the contract suites', () => {
    expect(Object.keys(testing).sort()).toEqual([
      'InMemoryKafka',
      'InMemoryLedger',
      'InMemoryLedgerStore',
      'describeLedgerContract',
      'driverContract',
    ]);
  });

  it('have a name for every type that their signatures speak of', () => {
    const index = checker.getSymbolAtLocation(program.getSourceFile(join(LIB, 'index.ts'))!)!;
    const exported = new Set(checker.getExportsOfModule(index).map(resolved));
    expect(exported.size).toBeGreaterThan(60);
    const nameless = new Set<string>();
    for (const declaration of [...exported].flatMap(({ declarations = [] }) => declarations)) {
      for (const symbol of namedTypes(declaration)) {
        const [origin] = symbol.declarations ?? [];
        const own =
          origin?.getSourceFile().fileName.startsWith(LIB) && !ts.isTypeParameterDeclaration(origin);
        const local = symbol.declarations?.every(
          (each) => !(ts.getCombinedModifierFlags(each as ts.Declaration) & ts.ModifierFlags.Export),
        );
        if (own && !local && !exported.has(symbol)) nameless.add(symbol.name);
      }
    }
    expect([...nameless].filter((name) => !(name in UNNAMED))).toEqual([]);
  });
});
