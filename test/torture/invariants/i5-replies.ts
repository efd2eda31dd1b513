import { type Facts, type TopicRecord, type Violation } from '../oracle/facts.js';
import { handlers } from '../work.js';
import { correlationOf, grouped, isHostile, Outcomes } from './lookup.js';

/** I5: each request settles once, with the stored reply of the run that counts; repeated ones get the same bytes. */
export function* replies(facts: Facts): Generator<Violation> {
  const invariant = 'I5';
  const outcomes = new Outcomes(facts);
  const requests = facts.records.filter(
    (record) => record.topic === facts.topics.requests && !isHostile(record),
  );
  const asked = new Map(requests.map((request) => [correlationOf(request), request]));
  const hostile = new Set(facts.records.filter(isHostile).map(correlationOf));
  const runOf = (id: string) => outcomes.effectsOf(handlers.request, id)[0]?.run;
  const answered = new Set<string>();
  const bytes = new Map<string, string | null>();

  for (const reply of facts.replies) {
    const correlation = correlationOf(reply);
    if (hostile.has(correlation)) continue;
    const request = asked.get(correlation);
    if (!request) {
      yield { invariant, what: `a reply to nobody's request (${correlation})` };
      continue;
    }
    const { id, work } = request;
    answered.add(correlation);
    const failed = reply.headers['kafka_nest-err'];
    if (work?.failure === undefined && failed !== undefined) {
      yield { invariant, id, what: `answered with an error: ${failed.slice(0, 200)}` };
    } else if (work?.failure !== undefined && failed === undefined) {
      yield { invariant, id, what: 'answered although its handler failed' };
    } else if (failed === undefined && runIn(reply) !== runOf(id)) {
      yield { invariant, id, what: `answered by run ${runIn(reply)}, whose effect is not there` };
    }
    const body = failed ?? reply.value;
    if (bytes.has(id) && bytes.get(id) !== body) yield { invariant, id, what: 'answered in two ways' };
    bytes.set(id, body);
  }
  for (const request of requests) {
    if (!answered.has(correlationOf(request)))
      yield { invariant, id: request.id, what: 'a request without a reply' };
  }
  yield* settled(facts, runOf);
}

/** What callers got. Those that died with their requests are owed nothing. */
function* settled(facts: Facts, runOf: (id: string) => string | undefined): Generator<Violation> {
  const invariant = 'I5';
  const settlements = grouped(facts.settlements, ({ id }) => id);
  const alive = new Set(facts.instances.filter(({ running }) => running).map(({ name }) => name));
  for (const { id, instance, tail } of facts.calls) {
    const own = settlements.get(id) ?? [];
    if (own.length > 1) yield { invariant, id, what: `settled ${own.length} times in ${instance}` };
    if (own.length === 0 && alive.has(instance))
      yield { invariant, id, what: `never settled in ${instance}` };
    for (const { value, error } of own) {
      const { run } = (value ?? {}) as { run?: unknown };
      if (error === undefined && (run === undefined || run !== runOf(id))) {
        yield { invariant, id, what: `${instance} was given run ${String(run)}, whose effect is not there` };
      }
      if (tail && error !== undefined)
        yield { invariant, id, what: `${instance} was given an error after all was healed: ${error}` };
    }
  }
}

function runIn({ value }: TopicRecord): string | undefined {
  try {
    return (JSON.parse(value ?? '') as { run?: string }).run;
  } catch {
    return undefined;
  }
}
