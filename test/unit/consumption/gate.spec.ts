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
