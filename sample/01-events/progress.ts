import { Injectable } from '@nestjs/common';

export const ORDERS = 3;

/** How far the sample is; it ends when all orders are counted and shipped, whichever comes last. */
@Injectable()
export class Progress {
  private readonly totals = new Map<number, number>();
  private readonly orders = new Set<number>();
  private finish!: () => void;
  readonly done = new Promise<void>((resolve) => (this.finish = resolve));

  get turnover(): number {
    return [...this.totals.values()].reduce((sum, total) => sum + total, 0);
  }

  counted(orderId: number, total: number): void {
    this.totals.set(orderId, total);
    this.check();
  }

  shipped(orderId: number): void {
    this.orders.add(orderId);
    this.check();
  }

  private check(): void {
    if (this.totals.size === ORDERS && this.orders.size === ORDERS) this.finish();
  }
}
