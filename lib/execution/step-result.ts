import { types } from 'node:util';
import { deserialize, serialize } from 'node:v8';
import { InvalidRecordError, StepResultError } from '../errors/errors.js';

/** Bytes that one step's result may take. */
export const MAX_STEP_RESULT = 1_048_576;

const VERSION = 1;
/** Field of the object that stands for an error; `serialize` itself would lose all but message and stack. */
const ERROR_FIELD = '\0error';

interface PackedError {
  readonly [ERROR_FIELD]: Record<string, unknown>;
}

/**
 * A step's result as bytes. Dates, BigInts, Buffers and typed arrays, Maps, Sets, `undefined` and cycles come back as they
 * were; errors as `Error` with name, message, stack, cause and fields; instances of classes as plain objects.
 * @throws StepResultError for what is no data (functions, promises, symbols), and for more than `MAX_STEP_RESULT` bytes.
 */
export function encodeStepResult(step: string, result: unknown): Buffer {
  let bytes: Buffer;
  try {
    bytes = serialize(transformed(result, packError));
  } catch (error) {
    // The serializer's own message quotes what it could not take.
    const problem =
      types.isNativeError(error) && error.name === 'RangeError' ? 'is nested too deeply' : undefined;
    throw new StepResultError(
      step,
      problem ?? 'holds something that is no data: a function, a promise, a symbol',
    );
  }
  if (bytes.length > MAX_STEP_RESULT) {
    throw new StepResultError(step, `has ${bytes.length} bytes; at most ${MAX_STEP_RESULT} are stored`);
  }
  return Buffer.concat([Buffer.of(VERSION), bytes]);
}

/** @throws InvalidRecordError if the bytes are of a newer version of this library, or damaged. */
export function decodeStepResult(bytes: Buffer): unknown {
  if (bytes[0] !== VERSION) {
    throw new InvalidRecordError(
      `A step's result has format ${bytes[0] ?? 'none'}; this version reads ${VERSION}. Was it stored by a newer one?`,
    );
  }
  try {
    return transformed(deserialize(bytes.subarray(1)), unpackError);
  } catch (cause) {
    throw new InvalidRecordError("A step's result is damaged, or of a newer version of Node", { cause });
  }
}

/** Replaces an object, or declines with `undefined`. */
type Replace = (value: object, inner: (value: unknown) => unknown) => object | undefined;

/** A copy of plain data in which some objects are replaced; what is neither plain nor replaced stays as it is. */
function transformed(root: unknown, replace: Replace): unknown {
  const copies = new Map<object, unknown>();
  const visit = (value: unknown): unknown => {
    if (typeof value !== 'object' || value === null) return value;
    if (copies.has(value)) return copies.get(value);
    // Before its parts are looked at: they may lead back here.
    const remember = <T extends object>(copy: T): T => {
      copies.set(value, copy);
      return copy;
    };
    const replaced = replace(value, visit);
    if (replaced !== undefined) return remember(replaced);
    if (Array.isArray(value)) {
      const copy = remember(new Array<unknown>(value.length));
      for (const index of value.keys()) if (index in value) copy[index] = visit(value[index]);
      return copy;
    }
    if (types.isMap(value)) {
      const copy = remember(new Map<unknown, unknown>());
      for (const [key, content] of value) copy.set(visit(key), visit(content));
      return copy;
    }
    if (types.isSet(value)) {
      const copy = remember(new Set<unknown>());
      for (const content of value) copy.add(visit(content));
      return copy;
    }
    if (isOpaque(value)) return value;
    const copy = remember<Record<string, unknown>>({});
    for (const [name, content] of Object.entries(value)) define(copy, name, visit(content));
    return copy;
  };
  return visit(root);
}

/** Values that `serialize` takes as they are, and those that it refuses. */
function isOpaque(value: object): boolean {
  return (
    types.isDate(value) ||
    types.isRegExp(value) ||
    types.isBoxedPrimitive(value) ||
    types.isAnyArrayBuffer(value) ||
    ArrayBuffer.isView(value) ||
    types.isPromise(value) ||
    types.isProxy(value) ||
    types.isWeakMap(value) ||
    types.isWeakSet(value) ||
    types.isGeneratorObject(value)
  );
}

/** Not by assignment: `__proto__` is a name like any other in data. */
function define(target: object, name: string, value: unknown): void {
  Object.defineProperty(target, name, { value, writable: true, enumerable: true, configurable: true });
}

const packError: Replace = (value, inner) => {
  if (!types.isNativeError(value)) return undefined;
  const facts: Record<string, unknown> = { name: value.name };
  // `stack`, `message` and `cause` are own fields that `Object.entries` does not list.
  for (const name of Object.getOwnPropertyNames(value)) {
    define(facts, name, inner((value as unknown as Record<string, unknown>)[name]));
  }
  return { [ERROR_FIELD]: facts };
};

const unpackError: Replace = (value, inner) => {
  if (!Object.hasOwn(value, ERROR_FIELD)) return undefined;
  const facts = (value as PackedError)[ERROR_FIELD];
  const error = new Error();
  for (const [name, content] of Object.entries(facts)) {
    Object.defineProperty(error, name, {
      value: inner(content),
      writable: true,
      enumerable: !['name', 'message', 'stack', 'cause', 'errors'].includes(name),
      configurable: true,
    });
  }
  return error;
};
