/**
 * Oniguruma's patterns, as tokenizer.json writes them, as a RegExp that matches the same text.
 *
 * `@huggingface/tokenizers` translates most of the syntax. Two things it drops are put into its reach first: a possessive
 * quantifier or atomic group never gives back what it took, and `(?i:s)` means ſ (U+017F) too, `(?i:k)` the Kelvin sign.
 * It does not know tokenizers. Characters newer than Unicode 16 belong to classes here that the reference does not know.
 */
import * as library from '@huggingface/tokenizers'

// Stated here because the library's own declarations do not resolve under Node's module rules.
const { SplitPreTokenizer } = library as unknown as { SplitPreTokenizer: new (config: object) => { pattern: unknown } }

/** With the flags g and u. Throws SyntaxError where there is no such RegExp. */
export function splitPattern(source: string): RegExp {
  const config = { type: 'Split', pattern: { Regex: explicit(source) }, behavior: 'Isolated', invert: false }
  const { pattern } = new SplitPreTokenizer(config)
  if (!(pattern instanceof RegExp)) throw new SyntaxError('it is no pattern')
  return pattern
}

/** What ASCII letters match besides themselves where case does not count. */
const FOLDED: Readonly<Record<string, string>> = { s: '\u017F', S: '\u017F', k: '\u212A', K: '\u212A' }
const ESCAPE = /\\(?:[pPxu]\{[^}]*\}|[^])/y
const GROUP_START = /\((?:\?(?:<[=!]|<\w+>|i:|[:=!>]))?/y
const QUANTIFIER = /[*+?]|\{\d*,?\d*\}/y

interface OpenGroup {
  /** Where it begins in the output. */
  readonly start: number
  readonly isAtomic: boolean
  /** Outside of it. */
  readonly isFolding: boolean
}

/** The same pattern with atomic groups as a lookahead and what it captured: `(?=(?<n>…))\k<n>` gives nothing back. */
function explicit(source: string): string {
  let out = ''
  let atomStart = 0
  let isFolding = false
  let atomicCount = 0
  const open: OpenGroup[] = []
  const atomic = (text: string): string => {
    const name = `atom${atomicCount++}`
    return `(?:(?=(?<${name}>${text}))\\k<${name}>)`
  }
  const emit = (atom: string): void => {
    atomStart = out.length
    out += atom
  }
  for (let at = 0; at < source.length;) {
    const take = (pattern: RegExp): string => {
      pattern.lastIndex = at
      return pattern.exec(source)?.[0] ?? ''
    }
    const character = source[at] ?? ''
    if (character === '\\') {
      const escape = take(ESCAPE) || character
      emit(escape)
      at += escape.length
    } else if (character === '[') {
      const end = classEnd(source, at)
      emit(isFolding ? foldedClass(source.slice(at, end)) : source.slice(at, end))
      at = end
    } else if (character === '(') {
      const start = take(GROUP_START)
      open.push({ start: out.length, isAtomic: start === '(?>', isFolding })
      isFolding ||= start === '(?i:'
      out += start === '(?>' ? '(?:' : start
      at += start.length
    } else if (character === ')') {
      const group = open.pop()
      out += character
      atomStart = group?.start ?? 0
      isFolding = group?.isFolding ?? false
      if (group?.isAtomic) out = out.slice(0, atomStart) + atomic(out.slice(atomStart))
      at += 1
    } else {
      const quantifier = take(QUANTIFIER)
      const isPossessive = quantifier.length === 1 && source[at + 1] === '+'
      if (quantifier === '') emit(isFolding && character in FOLDED ? `[${character}${FOLDED[character]}]` : character)
      else out += quantifier
      if (isPossessive) out = out.slice(0, atomStart) + atomic(out.slice(atomStart))
      at += Math.max(1, quantifier.length) + (isPossessive ? 1 : 0)
    }
  }
  return out
}

/** One past the bracket that closes the class at `start`; classes nest. */
function classEnd(source: string, start: number): number {
  let depth = 0
  for (let at = start; at < source.length; at++) {
    if (source[at] === '\\') at += 1
    else if (source[at] === '[') {
      depth += 1
      if (source[at + 1] === '^') at += 1
      // Right after its opening, a bracket closes nothing.
      if (source[at + 1] === ']') at += 1
    } else if (source[at] === ']') {
      depth -= 1
      if (depth === 0) return at + 1
    }
  }
  return source.length
}

function foldedClass(text: string): string {
  const letters = Object.keys(FOLDED).filter((letter) => text.includes(letter))
  const others = new Set(letters.map((letter) => FOLDED[letter]))
  return text.slice(0, -1) + [...others].join('') + text.slice(-1)
}
