import { LeaseLostError } from '../errors/errors.js';
import type { StepToStore } from '../execution/step-journal.js';
import { byteaArray, PackedBytes, plainArray, textArray } from './parameters.js';
import type { ScopeIds } from './scope-ids.js';
import type { Call } from './session.js';
import type { Statements } from './statements.js';

const CLAIM_HELD = 'step_claim_held';

/** The statements that store steps: one for all that their transaction vouches for, one for each under a claim. */
export async function storeSteps(
  steps: readonly StepToStore[],
  statements: Statements,
  scopes: ScopeIds,
): Promise<Call[]> {
  if (steps.length === 0) return [];
  const scopeIds = await Promise.all(steps.map(({ scope }) => scopes.of(scope)));
  const calls: Call[] = [];
  const free: number[] = [];
  for (const [index, { key, step, token }] of steps.entries()) {
    if (token === undefined) free.push(index);
    else {
      const values = [scopeIds[index]!, key, step.position, step.name, step.result, token];
      calls.push([statements.addHeldStep, values]);
    }
  }
  if (free.length === 0) return calls;
  const packed = new PackedBytes();
  const bounds = free.map((index) => packed.add(steps[index]!.step.result));
  const of = free.map((index) => steps[index]!);
  calls.push([
    statements.addSteps,
    [
      plainArray(free.map((index) => scopeIds[index]!)),
      byteaArray(of.map(({ key }) => key)),
      plainArray(of.map(({ step }) => step.position)),
      textArray(of.map(({ step }) => step.name)),
      plainArray(bounds.map(({ start }) => start)),
      plainArray(bounds.map(({ length }) => length)),
      packed.bytes(),
    ],
  ]);
  return calls;
}

/** What a refused step means; other errors as they are. */
export function stepError(error: unknown): unknown {
  const { code, column, table, constraint } = (error ?? {}) as Record<string, unknown>;
  // Before Postgres 18 a violated "not null" has no name.
  const refused =
    code === '23502' && (constraint === CLAIM_HELD || (table === 'step' && column === 'result'));
  return refused ? new LeaseLostError(lostMessage, { cause: error }) : error;
}

const lostMessage =
  'The claim of an execution was taken over before a step of it was stored: its lease had run out. The step is not recorded; ' +
  'the new owner runs it.';
