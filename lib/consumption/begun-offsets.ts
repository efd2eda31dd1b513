/** Records of a partition that this process has called a handler for: those below `end`, but for some. */
export interface BegunOffsets {
  readonly end: bigint;
  readonly except: ReadonlySet<bigint>;
}

export const NOTHING_BEGUN: BegunOffsets = { end: 0n, except: new Set() };

export function hasBegun({ end, except }: BegunOffsets, offset: bigint): boolean {
  return offset < end && !except.has(offset);
}

/**
 * What is known at the end of an assignment.
 *
 * @param before what was known at its beginning.
 * @param end above every record that a handler was called for since then.
 * @param next the offset up to which records have arrived since then.
 * @param unbegun of these, the ones whose turn did not come.
 */
export function begunSince(
  before: BegunOffsets,
  end: bigint,
  next: bigint,
  unbegun: Iterable<bigint>,
): BegunOffsets {
  const reached = end > before.end ? end : before.end;
  const except = new Set<bigint>();
  for (const offset of before.except) if (offset >= next) except.add(offset);
  for (const offset of unbegun) if (offset < reached) except.add(offset);
  return { end: reached, except };
}
