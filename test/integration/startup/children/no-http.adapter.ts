import { AbstractHttpAdapter } from '@nestjs/core';

/** An HTTP side for hybrid applications that serves nothing. */
const quiet = (): undefined => undefined;

/** Made by a function, since the abstract class names dozens of methods that nobody calls here. */
export function createNoHttpAdapter(): AbstractHttpAdapter {
  class NoHttpAdapter extends (AbstractHttpAdapter as unknown as new (instance: object) => object) {
    constructor() {
      super({});
      return new Proxy(this, {
        get: (target, name) =>
          name === 'getType'
            ? () => 'none'
            : (Reflect.get(target, name) ?? (name === 'then' ? undefined : quiet)),
      });
    }
  }
  return new NoHttpAdapter() as unknown as AbstractHttpAdapter;
}
