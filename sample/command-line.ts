import { parseArgs, type ParseArgsConfig } from 'node:util';

/** An argument that cannot be used; the message is one line for the user. */
export class OptionError extends Error {}

/** @throws OptionError for anything that is not one of the options */
export function readArguments<const Options extends NonNullable<ParseArgsConfig['options']>>(
  args: readonly string[],
  options: Options,
) {
  try {
    return parseArgs({ args: [...args], options }).values;
  } catch (error) {
    const [sentence] = (error as Error).message.split(/\.\s|\n/);
    throw new OptionError(`${sentence?.replace(/\.$/, '')}. See --help.`);
  }
}

/** @throws OptionError unless the text is a whole number in this range, both ends included */
export function wholeNumber(option: string, text: string, least: number, most: number): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= least && value <= most) return value;
  throw new OptionError(`${option} must be a whole number from ${least} to ${most}, not "${shown(text)}".`);
}

/** @throws OptionError unless the text is one of these words */
export function oneOf<Word extends string>(option: string, text: string, words: readonly Word[]): Word {
  const word = words.find((each) => each === text);
  if (word !== undefined) return word;
  throw new OptionError(`${option} must be ${words.join(' or ')}, not "${shown(text)}".`);
}

/** What a message quotes of an argument. */
export const shown = (text: string): string => text.slice(0, 40);
