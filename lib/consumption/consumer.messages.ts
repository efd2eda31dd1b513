/** What the log says of a consumer's partitions. */

/** @param place the partition's name. */
export function outOfRange(place: string, wanted: bigint, resumeAt: bigint): string {
  return wanted < resumeAt
    ? `${place}: offset ${wanted} does not exist any more, reading goes on at ${resumeAt}. Records in between were ` +
        "deleted by the broker before this group had read them: raise the topic's retention."
    : `${place}: this group has read up to offset ${wanted}, and what the broker has of that ends at ${resumeAt}: records in ` +
        'between are lost (an unclean leader election, data restored from a copy), unless somebody set the offset there. ' +
        `Reading goes on at ${resumeAt}: what comes there is new.`;
}

/** @param place the partition's name. */
export function stillToFollow(place: string, error: string): string {
  return `${place} waits: its log has lost its end, and what is known of the lost records can't be put right yet (${error})`;
}

/** @param places where something is still at work. */
export function givenUp(places: readonly string[], why: string, milliseconds: number): string {
  return (
    `Work on ${places.join(', ')} has not ended within ${why} (${milliseconds} ms): it is given up, and ` +
    'comes again'
  );
}
