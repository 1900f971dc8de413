/**
 * JSON as files of a checkpoint may spell it: strict UTF-8, and no object names a key twice.
 *
 * `JSON.parse` keeps the last of two equal keys in silence, so one file could mean two things to two readers.
 * It does not know what the JSON says.
 */
import { CheckpointError, quote } from './checkpoint-error.ts'

/** Throws a CheckpointError naming `file` when the bytes are not UTF-8, not JSON, or repeat a key. */
export function parseStrictJson(file: string, bytes: Uint8Array): unknown {
  const text = decodeUtf8(file, bytes)
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new CheckpointError(file, 'expected JSON, got a syntax error', { cause: error })
  }
  const duplicate = findDuplicateKey(text)
  if (duplicate !== null) throw new CheckpointError(file, `the key ${quote(duplicate)} stands twice in one object`)
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

/** A key that one object of this valid JSON text names twice, escapes resolved; null when there is none. */
function findDuplicateKey(text: string): string | null {
  // One entry per open bracket: the keys seen in that object, null inside an array.
  const open: (Set<string> | null)[] = []
  // A string opens a key when the last structural character of its object was `{` or `,`.
  let isKeyNext = false
  for (let at = 0; at < text.length; at++) {
    const character = text[at]
    if (character === '"') {
      const end = stringEnd(text, at)
      const keys = open.at(-1)
      if (isKeyNext && keys) {
        const key: unknown = JSON.parse(text.slice(at, end))
        if (typeof key === 'string' && keys.has(key)) return key
        keys.add(String(key))
        isKeyNext = false
      }
      at = end - 1
    } else if (character === '{' || character === '[') {
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
