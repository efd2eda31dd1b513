/** Texts, quoted names and comments, in which words mean nothing. */
const QUOTED =
  /(?<![\w$])e'(?:[^'\\]|''|\\[\s\S])*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|(?<![\w$])\$(\w*)\$[\s\S]*?\$\1\$|--[^\n]*|\/\*[\s\S]*?\*\//gi;

/** The statements of a text that `pg` would send as one, each without what is quoted in it, and from its first word on. */
export function bareStatements(text: string): string[] {
  return text
    .replace(QUOTED, ' ')
    .split(';')
    .map((statement) => statement.trimStart());
}
