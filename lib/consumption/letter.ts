/** What an operator wants to become of a parked record. */
export interface LetterOrder {
  readonly state: 'skipped' | 'dead';
  readonly reason: string;
}

/** A record that was parked for one handler: where it waits, and what is known of it. */
export interface Letter {
  /** The handler's stable name. */
  readonly handler: string;
  /** The line that it heads. */
  readonly sequence: Buffer;
  /** Tries since it came to the head of its line. */
  readonly retries: number;
  /** It ends in this way without its handler being called. */
  readonly order: LetterOrder | undefined;
}
