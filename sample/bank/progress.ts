/** Shows what happens while it happens: events on lines of their own, the state on one live line if a terminal shows it. */
export class Progress {
  private state = '';
  private readonly started = performance.now();

  constructor(private readonly out: NodeJS.WriteStream) {}

  /** A line that stays. */
  event(line: string): void {
    this.clear();
    this.out.write(`${this.clock()}  ${line}\n`);
    this.draw();
  }

  /** Replaces the live line; shown on terminals only. */
  show(state: string): void {
    this.state = state;
    this.clear();
    this.draw();
  }

  /** Ends the live line. */
  close(): void {
    this.clear();
    this.state = '';
  }

  private clear(): void {
    if (this.out.isTTY && this.state) this.out.write('\r\x1b[2K');
  }

  private draw(): void {
    if (!this.out.isTTY || !this.state) return;
    this.out.write(`${this.clock()}  ${this.state}`.slice(0, (this.out.columns || 80) - 1));
  }

  private clock(): string {
    return `${((performance.now() - this.started) / 1_000).toFixed(1).padStart(6)} s`;
  }
}
