/**
 * Program. Asks for balances at a steady rate by Nest's built-in client, whichever transport answers, and checks every
 * answer. On `finish` it asks no more; on `report` it tells what it counted.
 */
import 'reflect-metadata';
import { inspect } from 'node:util';
import { ClientKafka } from '@nestjs/microservices';
import { brokers, groupId, topics } from './services/environment.js';
import type { BalanceRequest } from './services/messages.js';
import { accounts } from './transfers.js';

/** What the requester reports. An answer for another request or account, malformed, or an error is wrong. */
export interface RequestCounts {
  readonly requests: number;
  readonly answered: number;
  readonly wrong: number;
  /** The first of them: what was asked, and what came. */
  readonly firstWrong: string | undefined;
  /** Not answered yet. */
  readonly open: number;
}

const everyMs = 50;
/** While nobody answers, no more than this many wait. */
const mostOpen = 400;

const client = new ClientKafka({
  client: { brokers },
  consumer: { groupId: `${groupId}-requester` },
});
client.subscribeToResponseOf(topics.balanceGet);
await client.connect();

let requests = 0;
let answered = 0;
let wrong = 0;
let firstWrong: string | undefined;
const open = new Set<string>();

function ask(): void {
  if (open.size >= mostOpen) return;
  const account = (requests % accounts) + 1;
  const request: BalanceRequest = { requestId: `request-${++requests}`, account };
  open.add(request.requestId);
  const settle = (right: boolean, answer: unknown) => {
    if (!open.delete(request.requestId)) return;
    if (right) {
      answered++;
    } else {
      wrong++;
      firstWrong ??= `${request.requestId} for account ${account} got ${inspect(answer, { breakLength: Infinity })}`;
    }
  };
  client.send<unknown>(topics.balanceGet, { key: String(account), value: request }).subscribe({
    next: (answer) => settle(isAnswerTo(request, answer), answer),
    error: (error) => settle(false, error),
  });
}

function isAnswerTo(request: BalanceRequest, answer: unknown): boolean {
  if (typeof answer !== 'object' || answer === null) return false;
  const { requestId, account, balance } = answer as Record<string, unknown>;
  return requestId === request.requestId && account === request.account && Number.isSafeInteger(balance);
}

const timer = setInterval(ask, everyMs);
process.on('message', (message) => {
  if (message === 'finish') clearInterval(timer);
  if (message === 'report')
    process.send?.({ requests, answered, wrong, firstWrong, open: open.size } satisfies RequestCounts);
});
process.send?.('ready');
