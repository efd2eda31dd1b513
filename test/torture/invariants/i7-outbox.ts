import type { Facts, TopicRecord, Violation } from '../oracle/facts.js';
import { handlers } from '../work.js';

/** I7: what was emitted are the records of committed runs, all of them, under one message id each. */
export function* outbox(facts: Facts): Generator<Violation> {
  const invariant = 'I7';
  const effects = facts.effects.filter(({ handler }) => handler === handlers.event);
  const committed = new Set(effects.map(({ run }) => run));
  const messageIds = new Map<string, string>();
  for (const record of facts.out) {
    const { id, run } = contentOf(record);
    const messageId = record.headers['message-id'];
    if (!committed.has(run)) yield { invariant, id, what: `emitted by run ${run}, which did not commit` };
    if (messageId === undefined) {
      yield { invariant, id, what: 'emitted without a message id' };
      continue;
    }
    if ((messageIds.get(run) ?? messageId) !== messageId)
      yield { invariant, id, what: `emitted by run ${run} under two message ids` };
    messageIds.set(run, messageId);
  }
  if (new Set(messageIds.values()).size !== messageIds.size)
    yield { invariant, what: 'two runs emitted under one message id' };
  for (const { id, run } of effects) {
    if (!messageIds.has(run)) yield { invariant, id, what: `what its run ${run} emitted is missing` };
  }
}

function contentOf({ value }: TopicRecord): { id: string; run: string } {
  return JSON.parse(value ?? '{}') as { id: string; run: string };
}
