/** Program. One process of the service under torture: does as the supervisor says, and tells what happens to it. */
import 'reflect-metadata';
import { setTimeout as sleep } from 'node:timers/promises';
import { Logger } from '@nestjs/common';
import { lastValueFrom, toArray } from 'rxjs';
import { FailPoints, tell } from '../../crash/children/fail-points.js';
import type { Work } from '../work.js';
import { ExecutionLog } from './execution-log.js';
import { driverOf, loadBuild, Service } from './service.js';
import { type Order, type ServiceSettings, SETTINGS_VARIABLE, type Told } from './service-settings.js';
import { skewClock } from './skewed-clock.js';
import { writeStacks } from './stack-writer.js';

/** Longer than any fault lasts: a request that is not answered by then was forgotten. */
const REQUEST_TIMEOUT = 40_000;

const settings = JSON.parse(process.env[SETTINGS_VARIABLE]!) as ServiceSettings;
skewClock(settings.clockSkew);
writeStacks(settings.executionLog);

const build = await loadBuild(settings.library);
const failPoints = new FailPoints(undefined, settings.topics);
const service = new Service(build, settings, failPoints, new ExecutionLog(settings.executionLog));
const caller = new build.ClientKafkaProxy({
  driver: driverOf(build, settings),
  consumer: {
    groupId: settings.callerGroupId,
    sessionTimeout: settings.sessionTimeout,
    heartbeatInterval: settings.sessionTimeout / 4,
  },
  postfixId: '',
  requestTimeout: REQUEST_TIMEOUT,
});
caller.subscribeToResponseOf(settings.topics.requests);

function say(told: Told): void {
  tell(JSON.stringify(told));
}

async function churn(pauses: readonly number[]): Promise<void> {
  for (const pause of pauses) {
    await service.leave();
    say({ told: 'left' });
    await sleep(pause);
    await service.join();
    say({ told: 'joined' });
    await sleep(pause);
  }
  say({ told: 'churned' });
}

function block(millis: number): void {
  const end = performance.now() + millis;
  while (performance.now() < end);
}

async function request(work: Work, idempotencyKey: string): Promise<void> {
  const message = { key: work.key, value: { ...work }, headers: { 'idempotency-key': idempotencyKey } };
  try {
    const values = await lastValueFrom(
      caller.send<unknown>(settings.topics.requests, message).pipe(toArray()),
    );
    say({ told: 'settled', id: work.id, value: values.length === 1 ? values[0] : values });
  } catch (error) {
    say({ told: 'settled', id: work.id, error: describe(error) });
  }
}

function describe(error: unknown): string {
  if (error instanceof Error) return `${error.name}: ${error.message}`;
  return typeof error === 'string' ? error : JSON.stringify(error);
}

/** What the process waits for. One that is busy does not come to answer: see `stack-writer.ts`. */
function waitsFor(): string {
  return JSON.stringify(
    process
      .getActiveResourcesInfo()
      .reduce<Record<string, number>>((counts, name) => ({ ...counts, [name]: (counts[name] ?? 0) + 1 }), {}),
  );
}

async function obey(order: Order): Promise<void> {
  if (order.order === 'arm') failPoints.arm(order.point);
  else if (order.order === 'block') block(order.millis);
  else if (order.order === 'churn') await churn(order.pauses);
  else if (order.order === 'request') await request(order.work, order.idempotencyKey);
  else say({ told: 'report', counters: service.counters(), waitsFor: waitsFor() });
}

function fail(error: unknown): never {
  new Logger('Torture').error(error);
  process.exit(1);
}

// Whoever started this process is gone.
process.on('disconnect', () => process.exit(1));
process.on('message', (order) => void obey(order as Order).catch(fail));

await Promise.all([service.join(), caller.connect()]).catch(fail);
say({ told: 'joined' });
