import { OptionError } from '../../../sample/command-line.js';
import { parseOptions } from '../../bench/options.js';

describe('options of the benchmark', () => {
  it('run every row three times unless told otherwise', () => {
    const { only, repeats, seconds, quick } = parseOptions([]);
    expect({ repeats, seconds, quick }).toEqual({ repeats: 3, seconds: 5, quick: false });
    expect(only).toContain('events.insert');
    expect(only).toContain('failing');
  });

  it('take rows by id, and families of rows by what their ids begin with', () => {
    expect(parseOptions(['--only', 'rewind,events.insert']).only).toEqual(['events.insert', 'rewind']);
    expect(parseOptions(['--only', 'request.durable']).only).toEqual([
      'request.durable.1',
      'request.durable.10',
      'request.durable.100',
    ]);
    expect(parseOptions(['--only', 'events.insert']).only).not.toContain('events.insert.key');
  });

  it.each([
    [['--only', 'events.insert,evnts'], /no row "evnts"\. Rows: events\.insert, /],
    [['--only', ''], /no row ""/],
    [['--repeats', '0'], /--repeats must be a whole number from 1 to 50, not "0"/],
    [['--seconds', 'x'], /--seconds must be/],
    [['--growth', 'huge'], /--growth must be small or full, not "huge"/],
    [['--fast'], /Unknown option '--fast'.*See --help/],
    [['rewind'], /See --help/],
  ])('refuse %j', (args, message) => {
    expect(() => parseOptions(args)).toThrow(OptionError);
    expect(() => parseOptions(args)).toThrow(message);
  });
});
