/**
 * A new key: its text, which is shown once and kept nowhere, and what is stored of it.
 *
 * It knows neither whose key it becomes nor the table.
 */
import { newKey, parseKey, type KeyKind } from '../../contract/key-format.ts'
import type { Settings } from '../settings.ts'
import { keyDigest, type KeyDigest } from './digest.ts'

export interface IssuedKey extends KeyDigest {
  readonly id: string
  /** The whole key. */
  readonly value: string
}

export function issueKey(kind: KeyKind, { pepper, pepperId }: Pick<Settings, 'pepper' | 'pepperId'>): IssuedKey {
  const value = newKey(kind, (count) => crypto.getRandomValues(new Uint8Array(count)))
  const parsed = parseKey(value)
  if (parsed === null) throw new TypeError('A new key is not of the documented format')
  return { id: parsed.id, value, digest: keyDigest(value, pepper), pepperId }
}
