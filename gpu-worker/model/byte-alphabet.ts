/**
 * The alphabet of byte-level BPE: each of the 256 bytes as one printable character, as GPT-2 chose them.
 *
 *     0x21…0x7E, 0xA1…0xAC, 0xAE…0xFF   stand for themselves
 *     the other 68 bytes, ascending       U+0100, U+0101, …
 *
 * It does not know tokens or text.
 */

const BYTES = Array.from({ length: 256 }, (_, byte) => byte)

function isPrintable(byte: number): boolean {
  return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae
}

const others = BYTES.filter((byte) => !isPrintable(byte))

/** Index is the byte. */
export const byteCharacters: readonly string[] = BYTES.map((byte) =>
  String.fromCharCode(isPrintable(byte) ? byte : 0x100 + others.indexOf(byte)),
)

const byteOfCharacter = new Map(byteCharacters.map((character, byte) => [character, byte]))

/** The bytes a spelling in the alphabet stands for; null when a character is not of the alphabet. */
export function bytesOfSpelling(spelling: string): Uint8Array | null {
  const bytes: number[] = []
  for (const character of spelling) {
    const byte = byteOfCharacter.get(character)
    if (byte === undefined) return null
    bytes.push(byte)
  }
  return Uint8Array.from(bytes)
}

/** Any text, spelled in the alphabet. */
export function spellingOfText(text: string): string {
  return Array.from(new TextEncoder().encode(text), (byte) => byteCharacters[byte]).join('')
}
