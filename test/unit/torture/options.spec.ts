import { readFile } from 'node:fs/promises';
import { describe, expect, it } from '@jest/globals';
import { OptionError } from '../../../sample/command-line.js';
import { Dice } from '../../torture/dice.js';
import { defaultFaults, describeFaults } from '../../torture/faults/catalogue.js';
import { planFaults } from '../../torture/faults/plan.js';
import { parseOptions } from '../../torture/options.js';

const parse = (...args: string[]) => parseOptions(args, () => 42);

describe('Options of npm run torture', () => {
  it('draw a seed and take all faults unless told otherwise', () => {
    expect(parse()).toMatchObject({ kind: 'run', options: { seed: 42, faults: defaultFaults(false) } });
  });

  it('take what is given', () => {
    const command = parse(
      ...'--seed 7 --messages 500 --instances 2 --faults rewind,kill-at --json'.split(' '),
    );
    expect(command).toMatchObject({ options: { seed: 7, messages: 500, instances: 2, json: true } });
    const faults = command.kind === 'run' ? command.options.faults : [];
    expect(faults[0]).toBe('rewind');
    expect(faults.slice(1)).toHaveLength(6);
    expect(faults[1]).toMatch(/^kill-at-/);
  });

  it.each([
    ['--library=/nowhere', 'there is no index.js in "/nowhere"'],
    ['--nonsense', 'nonsense'],
    ['--faults=meteor', '"meteor"'],
    ['--messages=1', '--messages'],
    ['--mode=magic', '--mode must be transaction or claim'],
    ['--ordering=none', '--ordering must be partition or key'],
    ['--concurrent', '--concurrent needs --ordering key'],
    ['--seed=x', '--seed'],
  ])('refuse %s by name', (arg, told) => {
    expect(() => parse(arg)).toThrow(OptionError);
    expect(() => parse(arg)).toThrow(told);
  });
});

describe('The catalogue of faults', () => {
  it('is the table in the README of the tests', async () => {
    const text = await readFile(new URL('../../README.md', import.meta.url), 'utf8');
    const [, table = ''] = text.split('| fault ');
    const rows = [...table.matchAll(/^\| `(.+?)` +\| (.+?) +\|$/gm)].map(
      ([, name, about]) => `${name} ${about}`,
    );
    const lines = describeFaults().trim().split('\n');
    expect(rows).toEqual(lines.map((line) => line.replace(/ +/, ' ')));
  });

  it('has faults for clusters only where there is one', () => {
    expect(defaultFaults(true)).toContain('leader-kill');
    expect(defaultFaults(false)).not.toContain('leader-kill');
    expect(() => parse('--faults=leader')).toThrow('leader-kill needs --cluster');
  });
});

describe('The plan of faults', () => {
  it('follows from the seed, and has each fault at least once, within the duration', () => {
    const plan = (seed: number) => planFaults(defaultFaults(false), 60, new Dice(seed));
    const shown = (seed: number) => plan(seed).map(({ name, at }) => `${name} ${at}`);
    expect(shown(1)).toEqual(shown(1));
    expect(shown(1)).not.toEqual(shown(2));
    expect(new Set(plan(1).map(({ name }) => name))).toEqual(new Set(defaultFaults(false)));
    for (const { at } of plan(1)) expect(at).toBeLessThan(60_000);
  });
});
