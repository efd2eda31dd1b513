/** A property of something that was thrown, if it is a text. Whatever a getter or a proxy of it does, nothing is thrown. */
export function textOf(error: object, property: string): string | undefined {
  try {
    const value = (error as Record<string, unknown>)[property];
    return typeof value === 'string' ? value : undefined;
  } catch {
    return undefined;
  }
}

export function className(error: object): string {
  try {
    const { name } = error.constructor;
    return typeof name === 'string' && name !== '' ? name : 'Object';
  } catch {
    return 'Object';
  }
}
