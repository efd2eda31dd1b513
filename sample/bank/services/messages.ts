/** Value of a `transfer.requested` record. Its key is the paying account. */
export interface Transfer {
  readonly id: number;
  readonly from: number;
  readonly to: number;
  /** Whole units of money. */
  readonly amount: number;
}

/** Value of a `transfer.booked` record. Its key is the transfer's number. */
export interface TransferBooked {
  readonly transferId: number;
}

/** Payload of a `balance.get` request. */
export interface BalanceRequest {
  readonly requestId: string;
  readonly account: number;
}

/** Answer to a `balance.get` request, with what it answers. */
export interface Balance extends BalanceRequest {
  readonly balance: number;
}
