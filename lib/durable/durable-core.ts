/** Injection token of what all durable handlers of an application share. */
export const DURABLE_CORE = Symbol('DURABLE_CORE');
