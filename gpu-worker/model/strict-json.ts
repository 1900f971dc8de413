/**
 * JSON as files of a checkpoint may spell it: strict UTF-8, no object that names a key twice, no deep nesting.
 *
 * `JSON.parse` keeps the last of two equal keys in silence, so one file could mean two things to two readers; and what
 * nests deeper than the stack can be parsed, but neither printed nor compared. It does not know what the JSON says.
 */
import { CheckpointError, quote } from './checkpoint-error.ts'

/** The deepest of ours, a tokenizer, has 6. */
const NESTING_MAX = 64

/** Throws a CheckpointError naming `file` when the bytes are not UTF-8, not JSON, nested too deep, or repeat a key. */
export function parseStrictJson(file: string, bytes: Uint8Array): unknown {
  return parse(file, bytes, true)
}

/** The same, but of two equal keys the last holds. */
export function parseLenientJson(file: string, bytes: Uint8Array): unknown {
  return parse(file, bytes, false)
}

function parse(file: string, bytes: Uint8Array, isStrict: boolean): unknown {
  const text = decodeUtf8(file, bytes)
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new CheckpointError(file, 'expected JSON, got a syntax error', { cause: error })
  }
  const flaw = findFlaw(text, isStrict)
  if (flaw !== null) throw new CheckpointError(file, flaw)
  return value
}

/** The bytes as text; U+FFFD never stands in for a broken one. */
export function decodeUtf8(file: string, bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch (error) {
    throw new CheckpointError(file, 'expected UTF-8 text, got other bytes', { cause: error })
  }
}

/** What is wrong with this valid JSON text: nesting, or, where keys matter, one named twice, escapes resolved. */
function findFlaw(text: string, areKeysJudged: boolean): string | null {
  // One entry per open bracket: the keys seen in that object, null inside an array.
  const open: (Set<string> | null)[] = []
  // A string opens a key when the last structural character of its object was `{` or `,`.
  let isKeyNext = false
  for (let at = 0; at < text.length; at++) {
    const character = text[at]
    if (character === '"') {
      const end = stringEnd(text, at)
      const keys = open.at(-1)
      if (areKeysJudged && isKeyNext && keys) {
        const key: unknown = JSON.parse(text.slice(at, end))
        if (typeof key === 'string' && keys.has(key)) return `the key ${quote(key)} stands twice in one object`
        keys.add(String(key))
        isKeyNext = false
      }
      at = end - 1
    } else if (character === '{' || character === '[') {
      if (open.length === NESTING_MAX) return `it nests deeper than ${NESTING_MAX}`
      open.push(character === '{' ? new Set() : null)
      isKeyNext = character === '{'
    } else if (character === '}' || character === ']') {
      open.pop()
      isKeyNext = false
    } else if (character === ',') {
      isKeyNext = true
    }
  }
  return null
}

/** One past the closing quote of the string that opens at `start`. */
function stringEnd(text: string, start: number): number {
  let at = start + 1
  while (text[at] !== '"') at += text[at] === '\\' ? 2 : 1
  return at + 1
}
