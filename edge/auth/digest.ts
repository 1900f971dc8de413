/**
 * What is stored of an API key: an HMAC-SHA-256 under a pepper that the database does not hold.
 *
 * Runs in workerd and in Node alike; knows neither the key's format nor the store.
 */
import { createHmac } from 'node:crypto'

/** @returns 64 hexadecimal digits. */
export function keyDigest(key: string, pepper: string): string {
  return createHmac('sha256', pepper).update(key).digest('hex')
}
