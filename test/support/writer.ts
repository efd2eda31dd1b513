import { Controller, type Type } from '@nestjs/common';
import { EventPattern, Payload } from '@nestjs/microservices';
import { DurableExecution } from '../../lib/index.js';
import type { DurableWorld } from './durable-app.js';

/** The usual durable handler, a class of its own per call: writes the text that it gets from topic `t`. */
export function writer(world: DurableWorld): Type {
  @Controller()
  class Handlers {
    constructor(private readonly durable: DurableExecution) {}

    @EventPattern('t')
    run(@Payload() text: string) {
      return world.write(this.durable.client, text);
    }
  }
  return Handlers;
}
