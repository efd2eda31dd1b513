/** The two functions of a test runner that a contract suite needs. Those of jest, vitest and mocha fit as they are. */
export interface TestFramework {
  describe(title: string, body: () => void): unknown;
  it(title: string, body: () => Promise<void>): unknown;
}

/** Declares one test, which gets everything it needs as its kit. */
export type DeclareTest<Kit> = (title: string, body: (kit: Kit) => Promise<void>) => void;
