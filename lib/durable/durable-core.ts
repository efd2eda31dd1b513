/**
 * Injection token of what all durable handlers of an application share. Described by where it comes from: Nest's error
 * about a handler with `@Durable()` in an application without the module shows it.
 */
export const DURABLE_CORE = Symbol('DurableModule.forRoot()');
