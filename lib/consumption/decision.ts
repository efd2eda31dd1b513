/** What kind of failure an error is; see `product.md` "Failures". */
export type FailureClass =
  | 'infrastructure'
  /** Transactions got into each other's way: deadlock, serialization failure, lock timeout. */
  | 'contention'
  /** There is no room to park the record behind others of its key. */
  | 'crowded'
  | 'fenced'
  | 'terminal'
  | 'retriable-request'
  | 'retryable';

/** What becomes of a delivery whose attempt failed. */
export type Decision =
  /** Run again after a delay. */
  | 'retry'
  /** Run again for ever, with an alarm. */
  | 'block'
  /** Run again when what is down is up; nothing is counted. */
  | 'hold'
  /** Run again under a new epoch, if we are still a member. */
  | 'refence'
  /** The failure is the answer to the caller. */
  | 'answer'
  | 'dead-letter'
  /** Tried again later, while later records of its key queue behind it. */
  | 'park'
  /** It was parked before, and stays at the head of its line. */
  | 'postpone'
  /** Log it and go on. */
  | 'skip';

export interface FailureFacts {
  readonly failureClass: FailureClass;
  readonly kind: 'event' | 'request';
  /** Failures counted so far, with this one. */
  readonly failures: number;
  /** Attempts that may fail in all. */
  readonly attempts: number;
  /** The next attempt would begin after the deadline over all of them. */
  readonly overdue: boolean;
  readonly onExhausted: 'dead-letter' | 'park' | 'block' | undefined;
  /** It was parked before. */
  readonly isLetter: boolean;
  /** There is where to park it: the handler is durable. */
  readonly canBeParked: boolean;
  /** What an exception filter that has taken the counting over wants. */
  readonly filtered: 'retry' | 'answer' | undefined;
  /** A dead letter has somewhere to go: the ledger, or a dead-letter topic. */
  readonly hasPlaceForDead: boolean;
}

const NOBODYS_FAULT: ReadonlySet<FailureClass> = new Set([
  'infrastructure',
  'contention',
  'crowded',
  'fenced',
]);

/** Whether the failure says nothing about the handler that met it: others would have met it as well. */
export function isNobodysFault(failureClass: FailureClass): boolean {
  return NOBODYS_FAULT.has(failureClass);
}

/** The one table of what follows a failure. Pure. */
export function decide(facts: FailureFacts): Decision {
  const { failureClass, kind } = facts;
  if (failureClass === 'fenced') return 'refence';
  if (isNobodysFault(failureClass)) return 'hold';
  if (kind === 'request') {
    if (failureClass !== 'retriable-request') return 'answer';
    return facts.filtered ?? (mayTryAgain(facts) ? 'retry' : 'answer');
  }
  if (facts.filtered === 'retry') return facts.isLetter ? 'postpone' : 'retry';
  if (failureClass === 'terminal') return facts.hasPlaceForDead ? 'dead-letter' : 'skip';
  if (facts.isLetter) return 'postpone';
  if (mayTryAgain(facts)) return 'retry';
  if (facts.onExhausted === 'park' && facts.canBeParked) return 'park';
  if (facts.onExhausted === 'block') return 'block';
  if (facts.hasPlaceForDead) return 'dead-letter';
  return 'block';
}

function mayTryAgain({ failures, attempts, overdue }: FailureFacts): boolean {
  return failures < attempts && !overdue;
}
