import type { KafkaContext } from '@nestjs/microservices';

/** Value of a record: 300 bytes of JSON unless a row asks for others. */
export interface Order {
  readonly id: number;
  readonly customer: string;
  readonly cents: number;
  readonly note: string;
}

/** Where handlers write: each way of doing it is a peer. */
export abstract class Effects {
  abstract insert(order: Order, context: KafkaContext): Promise<void>;
}

/** The statement's name. */
export const EFFECT = 'effect';

/** The row that a handler writes for an order: the same statement for all subjects, named so that it is prepared once. */
export function effectOf(schema: string, instance: string) {
  const text = `insert into ${schema}.effect (id, customer, cents, instance, partition) values ($1, $2, $3, $4, $5)`;
  return ({ id, customer, cents }: Order, partition: number) => ({
    name: EFFECT,
    text,
    values: [id, customer, cents, instance, partition],
  });
}
