import kafkajs from 'kafkajs';
import { CodecMissingError } from '../../errors/errors.js';

const NAMES = ['none', 'GZIP', 'Snappy', 'LZ4', 'ZSTD'];
/** Packages that fit kafkajs' `CompressionCodecs`. */
const PACKAGES: Readonly<Record<number, string>> = {
  2: 'kafkajs-snappy',
  3: 'kafkajs-lz4',
  4: '@kafkajs/zstd',
};

interface Codec {
  compress(encoder: { buffer: Buffer }): Promise<Buffer>;
  decompress(buffer: Buffer): Promise<Buffer>;
}

/** @throws CodecMissingError */
export function decompress(type: number, bytes: Buffer, from: string): Promise<Buffer> {
  return codecOf(type, `A batch of ${from} is compressed`).decompress(bytes);
}

/** @throws CodecMissingError */
export function compress(type: number, bytes: Buffer): Promise<Buffer> {
  return codecOf(type, 'The producer is told to compress').compress({ buffer: bytes });
}

function codecOf(type: number, what: string): Codec {
  const codecs = kafkajs.CompressionCodecs as unknown as Record<number, (() => Codec) | undefined>;
  try {
    const codec = codecs[type]?.();
    if (codec) return codec;
  } catch {
    // kafkajs throws for the codecs it knows of but does not bring
  }
  const name = NAMES[type] ?? `type ${type}`;
  throw new CodecMissingError(
    `${what} with ${name}, and no codec is registered for it. ` +
      (PACKAGES[type]
        ? `Install "${PACKAGES[type]}" and set CompressionCodecs[CompressionTypes.${name}] of kafkajs to it.`
        : 'kafkajs has no such codec.'),
  );
}
