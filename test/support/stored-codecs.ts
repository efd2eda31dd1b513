/** What kafkajs' `CompressionCodecs` hold. */
export interface StoredCodec {
  compress(encoder: { buffer: Buffer }): Promise<Buffer>;
  decompress(bytes: Buffer): Promise<Buffer>;
}

/**
 * Snappy, LZ4 and Zstandard by their "stored" forms: frames that any broker reads, of blocks that are not compressed.
 * So the formats can be tested without a native package; they read nothing but what they wrote.
 */
export const CODECS: Readonly<Record<'Snappy' | 'LZ4' | 'ZSTD', StoredCodec>> = {
  Snappy: codec(
    (bytes) => {
      const block = Buffer.concat([varint(bytes.length), literal(bytes)]);
      return Buffer.concat([XERIAL, uint32(block.length, 'BE'), block]);
    },
    (framed) => {
      const block = framed.subarray(XERIAL.length + 4);
      const lengthBytes = block.findIndex((byte) => byte < 0x80) + 1;
      return block.subarray(lengthBytes + LITERAL_HEADER);
    },
  ),
  LZ4: codec(
    // Magic, version 01 with independent blocks, blocks of 64 KiB, and the checksum of these two bytes.
    (bytes) => Buffer.concat([LZ4_HEADER, uint32(bytes.length | 0x8000_0000, 'LE'), bytes, uint32(0, 'LE')]),
    (framed) => framed.subarray(LZ4_HEADER.length + 4, -4),
  ),
  ZSTD: codec(
    (bytes) => {
      // A single segment, its size in four bytes; one raw block, which is the last.
      const blockHeader = uint32(bytes.length * 8 + 1, 'LE').subarray(0, 3);
      return Buffer.concat([ZSTD_HEADER, uint32(bytes.length, 'LE'), blockHeader, bytes]);
    },
    (framed) => framed.subarray(ZSTD_HEADER.length + 4 + 3),
  ),
};

const XERIAL = Buffer.concat([
  Buffer.from([0x82]),
  Buffer.from('SNAPPY\0'),
  uint32(1, 'BE'),
  uint32(1, 'BE'),
]);
const LITERAL_HEADER = 3;
const LZ4_HEADER = Buffer.from([0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82]);
const ZSTD_HEADER = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0xa0]);

function codec(compress: (bytes: Buffer) => Buffer, decompress: (bytes: Buffer) => Buffer): StoredCodec {
  return {
    compress: ({ buffer }) => Promise.resolve(compress(buffer)),
    decompress: (bytes) => Promise.resolve(decompress(bytes)),
  };
}

/** A Snappy literal whose length takes two bytes. */
function literal(bytes: Buffer): Buffer {
  const length = bytes.length - 1;
  return Buffer.concat([Buffer.from([61 << 2, length & 0xff, length >> 8]), bytes]);
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  for (; value >= 0x80; value >>>= 7) bytes.push((value & 0x7f) | 0x80);
  return Buffer.from([...bytes, value]);
}

function uint32(value: number, order: 'BE' | 'LE'): Buffer {
  const bytes = Buffer.alloc(4);
  if (order === 'BE') bytes.writeUInt32BE(value >>> 0);
  else bytes.writeUInt32LE(value >>> 0);
  return bytes;
}
