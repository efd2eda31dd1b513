import { Controller } from '@nestjs/common';
import { MessagePattern, Payload, RpcException } from '@nestjs/microservices';
import { concatMap, delay, of, range, type Observable } from 'rxjs';
import { topics } from './settings.js';

@Controller()
export class MathController {
  @MessagePattern(topics.sum)
  sum(@Payload() numbers: number[]): { sum: number } {
    return { sum: numbers.reduce((left, right) => left + right, 0) };
  }

  /** One request, several replies. */
  @MessagePattern(topics.countdown)
  countdown(@Payload('from') from: number): Observable<{ left: number }> {
    return range(0, from).pipe(concatMap((passed) => of({ left: from - passed }).pipe(delay(50))));
  }

  @MessagePattern(topics.divide)
  divide(@Payload() [dividend, divisor]: [number, number]): { quotient: number } {
    if (divisor === 0) throw new RpcException({ code: 'DIVISION_BY_ZERO', dividend });
    return { quotient: dividend / divisor };
  }
}
