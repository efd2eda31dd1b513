/** What the log says of a consumer's partitions. */

/** @param place the partition's name. */
export function outOfRange(place: string, wanted: bigint, resumeAt: bigint): string {
  return wanted < resumeAt
    ? `${place}: offset ${wanted} does not exist any more, reading goes on at ${resumeAt}. Records in between were ` +
        "deleted by the broker before this group had read them: raise the topic's retention."
    : `${place}: offset ${wanted} is past the end, reading goes on at ${resumeAt}. Somebody set the group's offset ` +
        'there, or the broker has lost records.';
}

/** @param places where something is still at work. */
export function givenUp(places: readonly string[], why: string, milliseconds: number): string {
  return (
    `Work on ${places.join(', ')} has not ended within ${why} (${milliseconds} ms): it is given up, and ` +
    'comes again'
  );
}
