/**
 * How tokenizer.json cuts text into the pieces that byte-pair encoding works within.
 *
 * Pieces come one by one, so that whoever has enough stops. Only cuts that lose no text and change none: all else is
 * refused by name. It knows no tokens.
 */
import { anyOf } from './any-of.ts'
import { CheckpointError, quote } from './checkpoint-error.ts'
import { splitPattern } from './split-pattern.ts'

/** The pieces of a text in order; together they are the text. */
export type Cut = (text: string) => Iterable<string>

const FILE = 'tokenizer.json'
/** GPT-2's, which `ByteLevel` brings along. */
const BYTE_LEVEL_PATTERN = String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
const STEPS_MAX = 16
/** The longest known has 600. */
const PATTERN_CHARACTERS_MAX = 8192

/** Throws CheckpointError naming the part of `pre_tokenizer` that we have not. */
export function parsePreTokenizer(json: unknown): Cut {
  const steps = stepsOf(json)
  const kinds = steps.map(({ type }) => type)
  if (kinds.length === 0 || kinds.indexOf('ByteLevel') !== kinds.length - 1)
    throw refuse(`${quote(kinds)} (only a byte level that comes last)`)
  if (steps.length > STEPS_MAX) throw refuse(`${steps.length} steps (at most ${STEPS_MAX})`)
  const patterns = steps.map(patternOf).filter((pattern) => pattern !== null)
  return (text) => cut(text, patterns, 0)
}

function* cut(text: string, patterns: readonly RegExp[], step: number): Iterable<string> {
  const pattern = patterns[step]
  if (pattern === undefined) {
    yield text
    return
  }
  let end = 0
  for (const { 0: match, index } of text.matchAll(pattern)) {
    if (index > end) yield* cut(text.slice(end, index), patterns, step + 1)
    if (match !== '') yield* cut(match, patterns, step + 1)
    end = index + match.length
  }
  if (end < text.length) yield* cut(text.slice(end), patterns, step + 1)
}

interface Step {
  readonly type?: unknown
  readonly pattern?: unknown
  readonly behavior?: unknown
  readonly invert?: unknown
  readonly individual_digits?: unknown
  readonly add_prefix_space?: unknown
  readonly use_regex?: unknown
}

function stepsOf(json: unknown): Step[] {
  if (typeof json !== 'object' || json === null) throw refuse(quote(json))
  if (!('type' in json) || json.type !== 'Sequence') return [json]
  const parts: unknown = 'pretokenizers' in json ? json.pretokenizers : undefined
  if (!Array.isArray(parts) || parts.length > STEPS_MAX) throw refuse(quote(json))
  return parts.map((part: unknown) => {
    if (typeof part !== 'object' || part === null) throw refuse(quote(part))
    return part
  })
}

/** What a step cuts out; null for one that cuts nothing. */
function patternOf(step: Step): RegExp | null {
  switch (step.type) {
    case 'ByteLevel':
      if (step.add_prefix_space === true) throw refuse('add_prefix_space: true')
      return step.use_regex === false ? null : splitPattern(BYTE_LEVEL_PATTERN)
    case 'Digits':
      return splitPattern(step.individual_digits === true ? String.raw`\p{N}` : String.raw`\p{N}+`)
    case 'Split':
      // `Removed` and inverted drops what the pattern leaves over; patterns written so leave nothing, and we would keep it.
      if (step.behavior !== 'Isolated' && !(step.behavior === 'Removed' && step.invert === true)) {
        throw refuse(`behavior: ${quote(step.behavior)}`)
      }
      return compiled(step.pattern)
    default:
      throw refuse(`type: ${quote(step.type)}`)
  }
}

function compiled(pattern: unknown): RegExp | null {
  if (typeof pattern !== 'object' || pattern === null) throw refuse(`pattern: ${quote(pattern)}`)
  const { Regex: regex, String: text }: { Regex?: unknown; String?: unknown } = pattern
  if (typeof text === 'string' && text !== '') return anyOf([text])
  if (typeof regex !== 'string' || regex.length > PATTERN_CHARACTERS_MAX) throw refuse(`pattern: ${quote(pattern)}`)
  try {
    return splitPattern(regex)
  } catch (error) {
    throw new CheckpointError(FILE, `pre_tokenizer: not a pattern that we can read: ${quote(regex)}`, { cause: error })
  }
}

function refuse(what: string): CheckpointError {
  return new CheckpointError(FILE, `pre_tokenizer: not supported yet: ${what}`)
}
