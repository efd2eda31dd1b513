/** What pictures are drawn with. Readable on light and dark pages: each has its own white ground. */
export const ink = { text: '#1f2328', faint: '#6e7781', line: '#d0d7de', ours: '#0a7d4b' } as const;

export type Attributes = Readonly<Record<string, string | number>>;

export function element(name: string, attributes: Attributes, content = ''): string {
  const text = Object.entries(attributes)
    .map(([key, value]) => ` ${key}="${typeof value === 'number' ? Number(value.toFixed(1)) : value}"`)
    .join('');
  return content === '' ? `<${name}${text}/>` : `<${name}${text}>${content}</${name}>`;
}

export function label(x: number, y: number, text: string, attributes: Attributes = {}): string {
  const escaped = text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
  return element('text', { x, y, fill: ink.text, ...attributes }, escaped);
}

/** A whole picture with its heading. */
export function picture(
  width: number,
  height: number,
  title: string,
  subtitle: string,
  content: readonly string[],
): string {
  const frame = {
    xmlns: 'http://www.w3.org/2000/svg',
    viewBox: `0 0 ${width} ${height}`,
    width,
    height,
    'font-family': 'system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif',
    'font-size': 13,
    role: 'img',
  };
  return `${element(
    'svg',
    frame,
    [
      '',
      element('title', {}, title),
      element('rect', { width, height, fill: '#ffffff' }),
      label(24, 32, title, { 'font-size': 17, 'font-weight': 600 }),
      label(24, 53, subtitle, { fill: ink.faint }),
      ...content,
      '',
    ].join('\n'),
  )}\n`;
}
