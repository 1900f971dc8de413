/**
 * One token by itself, for people who look at log probabilities: its text where its bytes are whole characters.
 *
 *     ' the'          { token: ' the' }
 *     20 EC 95        { token: ' \xec\x95', bytes: [32, 236, 149] }      a part of a character
 *     <|im_end|>      { token: '<|im_end|>', bytes: null }              makes no text
 *
 * It knows no tokenizer.
 */

export interface TokenSpelling {
  readonly token: string
  /** UTF-8; absent where they are those of `token`, null of a token that makes no text. */
  readonly bytes?: readonly number[] | null
}

const CHARACTER_BYTES_MAX = 4
const whole = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** @param bytes u8 [n] that the token adds to the text. @param name of a token that adds none; '' for an id without one. */
export function spellToken(bytes: Uint8Array, name: string): TokenSpelling {
  if (bytes.length === 0) return { token: name, bytes: null }
  const text = decoded(bytes)
  return text === null ? { token: escaped(bytes), bytes: [...bytes] } : { token: text }
}

/** Whole characters as they are, every other byte as \xNN. */
function escaped(bytes: Uint8Array): string {
  let token = ''
  for (let at = 0; at < bytes.length;) {
    const character = characterAt(bytes, at)
    token += character ?? `\\x${bytes[at]?.toString(16).padStart(2, '0')}`
    at += character === null ? 1 : Buffer.byteLength(character)
  }
  return token
}

function characterAt(bytes: Uint8Array, at: number): string | null {
  for (let length = 1; length <= CHARACTER_BYTES_MAX; length += 1) {
    const character = decoded(bytes.subarray(at, at + length))
    if (character !== null) return character
  }
  return null
}

function decoded(bytes: Uint8Array): string | null {
  try {
    return whole.decode(bytes)
  } catch {
    // Not whole characters: the caller escapes them.
    return null
  }
}
