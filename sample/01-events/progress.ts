import { Injectable } from '@nestjs/common';

export const ORDERS = 3;

/** How far the sample is; it ends when all orders are shipped. */
@Injectable()
export class Progress {
  turnover = 0;
  private readonly orders = new Set<number>();
  private finish!: () => void;
  readonly done = new Promise<void>((resolve) => (this.finish = resolve));

  shipped(orderId: number): void {
    if (this.orders.add(orderId).size === ORDERS) this.finish();
  }
}
