/** What kind of failure an error is; see `product.md` "Failures". */
export type FailureClass =
  | 'infrastructure'
  /** Transactions got into each other's way: deadlock, serialization failure, lock timeout. */
  | 'contention'
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
  readonly onExhausted: 'dead-letter' | 'block' | undefined;
  /** What an exception filter that has taken the counting over wants. */
  readonly filtered: 'retry' | 'answer' | undefined;
  /** A dead letter has somewhere to go: the ledger, or a dead-letter topic. */
  readonly hasPlaceForDead: boolean;
}

/** The one table of what follows a failure. Pure. */
export function decide(facts: FailureFacts): Decision {
  const { failureClass, kind } = facts;
  if (failureClass === 'infrastructure' || failureClass === 'contention') return 'hold';
  if (failureClass === 'fenced') return 'refence';
  if (kind === 'request') {
    if (failureClass !== 'retriable-request') return 'answer';
    return facts.filtered ?? (mayTryAgain(facts) ? 'retry' : 'answer');
  }
  if (facts.filtered === 'retry') return 'retry';
  if (failureClass === 'terminal') return facts.hasPlaceForDead ? 'dead-letter' : 'skip';
  if (mayTryAgain(facts)) return 'retry';
  const onExhausted = facts.onExhausted ?? (facts.hasPlaceForDead ? 'dead-letter' : 'block');
  return onExhausted === 'dead-letter' && !facts.hasPlaceForDead ? 'block' : onExhausted;
}

function mayTryAgain({ failures, attempts, overdue }: FailureFacts): boolean {
  return failures < attempts && !overdue;
}
