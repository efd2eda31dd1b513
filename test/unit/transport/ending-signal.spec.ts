import { EventEmitter } from 'node:events';
import { EndingSignal } from '../../../lib/transport/ending-signal.js';

describe('EndingSignal', () => {
  const signals = () => new EventEmitter() as unknown as NodeJS.Process;
  const quiet = () => undefined;

  it('notes a signal that somebody listens to', () => {
    const source = signals().on('SIGTERM', quiet);
    const signal = new EndingSignal(source);
    expect(signal.received).toBe(false);
    source.emit('SIGTERM', 'SIGTERM');
    expect(signal.received).toBe(true);
    expect(source.listeners('SIGTERM')).toEqual([quiet]);
  });

  it('listens to none that would end the process: with a listener it would not', () => {
    const source = signals().on('SIGINT', quiet);
    const signal = new EndingSignal(source);
    expect(source.listenerCount('SIGTERM')).toBe(0);
    expect(source.listenerCount('SIGINT')).toBe(2);
    signal.forget();
    expect(source.listeners('SIGINT')).toEqual([quiet]);
  });

  it('leaves no listener of any signal behind once one has come: it may be raised again', () => {
    const source = signals().on('SIGTERM', quiet).on('SIGINT', quiet);
    new EndingSignal(source);
    source.emit('SIGINT', 'SIGINT');
    expect([...source.listeners('SIGTERM'), ...source.listeners('SIGINT')]).toEqual([quiet, quiet]);
  });
});
