import { Gate } from '../../../lib/consumption/gate.js';
import { RecordingLogger } from '../../support/recording-logger.js';
import { ManualClock } from '../transport/manual-clock.js';

const turn = () => new Promise((resolve) => setImmediate(resolve));

describe('Gate', () => {
  let clock: ManualClock;
  let log: RecordingLogger;
  let gate: Gate;
  let closings: number;

  beforeEach(() => {
    clock = new ManualClock();
    log = new RecordingLogger();
    closings = 0;
    gate = new Gate(clock, log, 'group', () => closings++);
  });

  async function pass(milliseconds: number): Promise<void> {
    clock.advance(milliseconds);
    await turn();
  }

  it('is open at first', async () => {
    expect(gate.isOpen).toBe(true);
    await gate.opened();
  });

  it('stays closed until the probe succeeds, and probes ever less often', async () => {
    let probes = 0;
    let up = false;
    gate.close('the database is away', async () => {
      probes++;
      if (!up) throw new Error('still away');
    });
    let passed = false;
    void gate.opened().then(() => (passed = true));
    await pass(24);
    expect(probes).toBe(0);
    await pass(1);
    expect(probes).toBe(1);
    for (let second = 0; second < 60; second++) await pass(1_000);
    expect(probes).toBeGreaterThan(20);
    expect(probes).toBeLessThan(70);
    expect(passed).toBe(false);
    expect(gate.isOpen).toBe(false);
    up = true;
    await pass(1_000);
    await turn();
    expect(passed).toBe(true);
    expect(gate.state).toBe('trial');
    gate.trial()!.end();
    expect(gate.isOpen).toBe(true);
    expect(clock.pendingTimers).toBe(0);
    expect(log.matching('the database is away')).toHaveLength(1);
    expect(log.matching('goes on')).toHaveLength(2);
  });

  it('is closed once, however many close it', async () => {
    let probes = 0;
    for (let many = 0; many < 5; many++) {
      gate.close('away', async () => {
        probes++;
      });
    }
    expect(closings).toBe(1);
    await pass(25);
    expect(probes).toBe(1);
    expect(gate.isOpen).toBe(true);
    gate.close('away again', () => Promise.resolve());
    expect(closings).toBe(2);
  });

  it('lets one through first, and the others when that one came through', async () => {
    gate.close('away', () => Promise.resolve());
    const passed: number[] = [];
    for (const each of [1, 2, 3]) void gate.opened().then(() => passed.push(each));
    await pass(25);
    expect(gate.state).toBe('trial');
    const trial = gate.trial()!;
    expect(gate.trial()).toBeUndefined();
    let late = false;
    void gate.opened().then(() => (late = true));
    await turn();
    expect(late).toBe(false);
    trial.end();
    await turn();
    expect([gate.state, late]).toEqual(['open', true]);
    expect(clock.pendingTimers).toBe(0);
  });

  it('is closed again by a trial that fails, without saying so once more', async () => {
    gate.close('away', () => Promise.resolve());
    for (let round = 0; round < 5; round++) {
      void gate.opened();
      await pass(2_000);
      const trial = gate.trial()!;
      gate.close('away', () => Promise.resolve());
      trial.end();
      expect(gate.state).toBe('closed');
    }
    expect(closings).toBe(1);
    expect(log.matching('away')).toHaveLength(1);
  });

  it('does not wait for a trial that takes long, or that nobody begins', async () => {
    gate.close('away', () => Promise.resolve());
    void gate.opened();
    await pass(25);
    expect(gate.state).toBe('trial');
    await pass(5_000);
    expect(gate.state).toBe('open');
    gate.close('away', () => Promise.resolve());
    await pass(25);
    expect(gate.state).toBe('open');
  });

  it('is closed by a suspicion only if the probe bears it out, and probes once at a time', async () => {
    let probes = 0;
    let up = true;
    const probe = async () => {
      probes++;
      await turn();
      if (!up) throw new Error('away');
    };
    await Promise.all([gate.suspect('away', probe), gate.suspect('away', probe)]);
    expect([gate.state, probes]).toEqual(['open', 1]);
    up = false;
    await gate.suspect('away', probe);
    expect(gate.state).toBe('closed');
    gate.stop();
  });

  it('lets everybody through for good when it is stopped', async () => {
    gate.close('away', () => Promise.reject(new Error('still away')));
    const opened = gate.opened();
    gate.stop();
    await opened;
    gate.close('away', () => Promise.reject(new Error('still away')));
    expect(gate.isOpen).toBe(true);
    await turn();
    expect(clock.pendingTimers).toBe(0);
  });
});
