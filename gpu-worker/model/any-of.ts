/** A pattern that finds plain texts inside another. It does not know what they mean. */

/** Matches, and captures, one of the texts: the longest that starts leftmost. Null for none. */
export function anyOf(texts: readonly string[]): RegExp | null {
  if (texts.length === 0) return null
  const longestFirst = texts.toSorted((a, b) => b.length - a.length)
  return new RegExp(`(${longestFirst.map(escaped).join('|')})`, 'gu')
}

function escaped(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\/]/g, String.raw`\$&`)
}
