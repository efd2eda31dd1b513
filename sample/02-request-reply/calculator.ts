import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import { ClientKafkaProxy } from 'nestjs-durable-kafka';
import { lastValueFrom, tap, toArray } from 'rxjs';
import { topics } from './settings.js';

/** The requester: what it calls may as well run in another process. */
@Injectable()
export class Calculator implements OnModuleInit {
  constructor(@Inject('MATH') private readonly math: ClientKafkaProxy) {}

  /** Before the client connects: it joins its group with all reply topics at once. */
  onModuleInit() {
    for (const topic of Object.values(topics)) this.math.subscribeToResponseOf(topic);
  }

  async run(): Promise<number> {
    const { sum } = await lastValueFrom(this.math.send<{ sum: number }>(topics.sum, [1, 2, 3]));
    console.log(`1 + 2 + 3 = ${sum}`);

    const countdown = this.math.send<{ left: number }>(topics.countdown, { from: 3 });
    const steps = await lastValueFrom(
      countdown.pipe(
        tap(({ left }) => console.log(`${left} …`)),
        toArray(),
      ),
    );

    const refusal: unknown = await lastValueFrom(this.math.send(topics.divide, [1, 0])).catch(
      (error: unknown) => error,
    );
    console.log(`1 / 0: ${JSON.stringify(refusal)}`);

    const many = Array.from({ length: 100 }, (_, n) =>
      lastValueFrom(this.math.send<{ sum: number }>(topics.sum, [n, 1])),
    );
    const sums = await Promise.all(many);
    console.log(`100 at once: ${sums.filter((reply, n) => reply.sum === n + 1).length} right answers`);
    return 1 + steps.length + 1 + sums.length;
  }
}
