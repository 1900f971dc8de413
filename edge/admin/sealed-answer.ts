/**
 * Answers of the Admin API as they are kept for a repetition: AES-256-GCM, since they may hold a new key.
 *
 * The sealing key comes from the pepper and the client's own Idempotency-Key, and the database holds neither: what was
 * stolen from it opens nothing. Knows no table.
 *
 *     base64( | IV, 12 bytes | ciphertext | tag, 16 bytes | )
 */
import assert from 'node:assert/strict'

const ivBytes = 12
const label = new TextEncoder().encode('axle idempotent answer 1')

/** What an answer belongs to; with other facts, or in another row, it does not open. */
export interface SealFacts {
  /** The current one, which seals, and those under which answers may still be sealed. */
  readonly peppers: readonly string[]
  readonly idempotencyKey: string
  /** The row's place. */
  readonly row: string
}

export async function sealAnswer(text: string, facts: SealFacts): Promise<string> {
  const [pepper] = facts.peppers
  assert(pepper !== undefined, 'a deployment has a pepper')
  const iv = crypto.getRandomValues(new Uint8Array(ivBytes))
  const key = await sealingKey(pepper, facts.idempotencyKey)
  const sealed = await crypto.subtle.encrypt(algorithm(iv, facts.row), key, encode(text))
  return Buffer.concat([iv, new Uint8Array(sealed)]).toString('base64')
}

/** @returns null when these facts do not open it. */
export async function openAnswer(sealed: string, facts: SealFacts): Promise<string | null> {
  const bytes = new Uint8Array(Buffer.from(sealed, 'base64'))
  const [iv, rest] = [bytes.slice(0, ivBytes), bytes.slice(ivBytes)]
  for (const pepper of facts.peppers) {
    const key = await sealingKey(pepper, facts.idempotencyKey)
    // The platform says no more than that the tag is not the one.
    const text = await crypto.subtle.decrypt(algorithm(iv, facts.row), key, rest).catch(() => null)
    if (text !== null) return new TextDecoder().decode(text)
  }
  return null
}

function algorithm(iv: Uint8Array, row: string) {
  return { name: 'AES-GCM', iv, additionalData: encode(row) }
}

async function sealingKey(pepper: string, idempotencyKey: string): Promise<CryptoKey> {
  const root = await crypto.subtle.importKey('raw', encode(pepper), 'HKDF', false, ['deriveKey'])
  const derivation = { name: 'HKDF', hash: 'SHA-256', salt: encode(idempotencyKey), info: label }
  return crypto.subtle.deriveKey(derivation, root, { name: 'AES-GCM', length: 256 }, false, ['encrypt', 'decrypt'])
}

function encode(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}
