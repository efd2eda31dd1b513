/** Names beyond these are left as they are: producers may send any number of them. */
const MAX_NAMES = 500;
const MAX_LENGTH = 100;

const known = new Map<string, string>();

/**
 * The same string object for the same name, as V8 has it for names of properties. A string that was just decoded would be
 * looked up in V8's table at each of its uses as one, which costs more than all the rest of parsing the header.
 */
export function headerName(decoded: string): string {
  const name = known.get(decoded);
  if (name !== undefined) return name;
  if (known.size >= MAX_NAMES || decoded.length > MAX_LENGTH) return decoded;
  const [property] = Object.keys({ [decoded]: true }) as [string];
  known.set(property, property);
  return property;
}
