import type { Producer } from 'kafkajs';

export interface ProducerFacade {
  readonly producer: Producer;
  close(): Promise<void>;
}

/** kafkajs' own producer, which connects when it is first used: most applications never do. */
export function createProducerFacade(inner: Producer): ProducerFacade {
  let connected: Promise<void> | undefined;
  const connect = () => {
    connected ??= inner.connect().catch((error: unknown) => {
      connected = undefined;
      throw error;
    });
    return connected;
  };
  const close = async () => {
    const open = connected;
    connected = undefined;
    if (!open) return;
    await open.catch(() => undefined);
    await inner.disconnect();
  };
  const producer: Producer = {
    ...inner,
    connect,
    disconnect: close,
    send: async (record) => {
      await connect();
      return inner.send(record);
    },
    sendBatch: async (batch) => {
      await connect();
      return inner.sendBatch(batch);
    },
    transaction: async () => {
      await connect();
      return inner.transaction();
    },
  };
  return { producer, close };
}
