/**
 * What is stored of an API key: an HMAC-SHA-256 under a pepper that the database does not hold.
 *
 * Runs in workerd and in Node alike; knows neither the key's format nor the store.
 */
import { createHmac } from 'node:crypto'
import type { Settings } from '../settings.ts'

/** A digest, and under which pepper it was made. */
export interface KeyDigest {
  readonly digest: string
  readonly pepperId: string
}

/** @returns 64 hexadecimal digits. */
export function keyDigest(key: string, pepper: string): string {
  return createHmac('sha256', pepper).update(key).digest('hex')
}

/** As the key may be stored: under the current pepper first, then under the one before it. */
export function digestsOf(
  key: string,
  { pepper, pepperId, previousPepper }: Pick<Settings, 'pepper' | 'pepperId' | 'previousPepper'>,
): [KeyDigest, ...KeyDigest[]] {
  const current = { digest: keyDigest(key, pepper), pepperId }
  if (previousPepper === null) return [current]
  return [current, { digest: keyDigest(key, previousPepper.text), pepperId: previousPepper.id }]
}
