import type { Balance, BalanceRequest, Transfer } from './messages.js';

/** What both transports run their statements on: a connection inside a transaction, or a pool. */
export interface Sql {
  query<Row extends object>(text: string, values: unknown[]): Promise<{ rows: Row[] }>;
}

/** Two balances and a line in the journal. Nothing here keeps a transfer from being booked twice. */
export async function bookTransfer(sql: Sql, { id, from, to, amount }: Transfer): Promise<void> {
  const changes = [
    { account: from, by: -amount },
    { account: to, by: amount },
  ].sort((a, b) => a.account - b.account); // opposite transfers would wait for each other
  for (const { account, by } of changes)
    await sql.query('update account set balance = balance + $2 where id = $1', [account, by]);
  await sql.query('insert into journal (transfer_id, payer, payee, amount) values ($1, $2, $3, $4)', [
    id,
    from,
    to,
    amount,
  ]);
}

export async function readBalance(sql: Sql, { requestId, account }: BalanceRequest): Promise<Balance> {
  const { rows } = await sql.query<{ balance: number }>('select balance from account where id = $1', [
    account,
  ]);
  const [row] = rows;
  if (!row) throw new Error(`There is no account ${account}.`);
  return { requestId, account, balance: row.balance };
}
