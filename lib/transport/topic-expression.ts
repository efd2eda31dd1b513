import type { DeadLetterOption } from './kafka-transport.options.js';

/**
 * A pattern of topics, without those that the dead letters of what it matches are published to. A handler that fails for
 * good would get its own letters otherwise, and theirs, from one topic more each time.
 */
export class TopicExpression extends RegExp {
  constructor(
    private readonly given: RegExp,
    private readonly deadLetter: DeadLetterOption | undefined,
  ) {
    super(given);
  }

  /** `test()` and `search()` ask it too. */
  override exec(topic: string): RegExpExecArray | null {
    return this.isForLetters(topic) ? null : super.exec(topic);
  }

  private isForLetters(topic: string): boolean {
    const { deadLetter } = this;
    if (deadLetter === true) return topic.endsWith('.dlt') && topic.slice(0, -4).search(this.given) >= 0;
    return topic === (typeof deadLetter === 'object' ? deadLetter.topic : deadLetter);
  }
}
