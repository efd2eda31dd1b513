import { Controller } from '@nestjs/common';
import { EventPattern, MessagePattern, Payload } from '@nestjs/microservices';
import { topics } from './environment.js';
import type { Balance, BalanceRequest, Transfer, TransferBooked } from './messages.js';
import { bookTransfer, readBalance } from './sql.js';
import { Work } from './work.js';

/** The bank. Both services run exactly this. */
@Controller()
export class BankController {
  constructor(private readonly work: Work) {}

  @EventPattern<Record<string, Transfer>>(topics.transferRequested)
  async onTransferRequested(@Payload() transfer: Transfer): Promise<void> {
    await this.work.transaction((sql) => bookTransfer(sql, transfer));
    const booked: TransferBooked = { transferId: transfer.id };
    await this.work.emit(topics.transferBooked, { key: String(transfer.id), value: booked });
  }

  @MessagePattern(topics.balanceGet)
  onBalanceGet(@Payload() request: BalanceRequest): Promise<Balance> {
    return this.work.read((sql) => readBalance(sql, request));
  }
}
