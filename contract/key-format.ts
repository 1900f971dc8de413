/**
 * API keys as text:
 *
 *     axle_live_ 4fK2s0Qx _ 9hC…32 Base62… _ 0aZ3kQ
 *     |-kind--|  |-id 8-|   |--- secret -|   |CRC|
 *
 * The CRC-32 of everything before its underscore, in Base62, rejects typing errors and random probes without I/O.
 * The id may be logged and never authenticates; the secret has 190 bits. Knows no store and no digest.
 */
import { crc32 } from 'node:zlib'
import assert from 'node:assert/strict'

export type KeyKind = 'live' | 'admin'

export interface ParsedKey {
  readonly kind: KeyKind
  readonly id: string
}

const base62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const idChars = 8
const secretChars = 32
const checkChars = 6
const pattern = /^axle_(live|admin)_([0-9A-Za-z]{8})_[0-9A-Za-z]{32}_([0-9A-Za-z]{6})$/
/** Largest multiple of 62 in a byte: bytes at or above it would favour the first characters. */
const unbiasedByteLimit = 248

/** @param randomBytes returns that many fresh random bytes; called again for those the alphabet cannot use. */
export function newKey(kind: KeyKind, randomBytes: (count: number) => Uint8Array): string {
  const body = `axle_${kind}_${randomBase62(idChars, randomBytes)}_${randomBase62(secretChars, randomBytes)}`
  return `${body}_${checksum(body)}`
}

/** @returns null when shape or checksum is wrong. */
export function parseKey(key: string): ParsedKey | null {
  const match = pattern.exec(key)
  if (match === null) return null
  const [, kind, id, check] = match
  assert((kind === 'live' || kind === 'admin') && id !== undefined, 'the pattern has three groups')
  return check === checksum(key.slice(0, -checkChars - 1)) ? { kind, id } : null
}

function randomBase62(count: number, randomBytes: (count: number) => Uint8Array): string {
  let text = ''
  while (text.length < count) {
    for (const byte of randomBytes(count - text.length)) {
      if (byte < unbiasedByteLimit) text += base62.charAt(byte % base62.length)
    }
  }
  return text
}

function checksum(text: string): string {
  let value = crc32(text)
  let digits = ''
  for (let i = 0; i < checkChars; i++) {
    digits = base62.charAt(value % base62.length) + digits
    value = Math.floor(value / base62.length)
  }
  return digits
}
