/**
 * Names for what full KV blocks hold: SHA-256 over length-prefixed fields, u32 little-endian.
 *
 *   root       | byte count | fingerprint | byte count | tenant id |   UTF-8
 *   block i    | 32 | key of block i − 1, or root | byte count | token ids, u32 each |
 *
 * so that a key stands for the model's bits, the tenant, and every token from position 0 to the block's last. It knows
 * neither blocks nor sequences.
 */
import { createHash } from 'node:crypto'

declare const prefixKeyBrand: unique symbol
/** The 32 bytes of a digest, a character each. */
export type PrefixKey = string & { readonly [prefixKeyBrand]: true }

export function rootKey(fingerprint: string, tenantId: string): PrefixKey {
  return digest(Buffer.from(fingerprint), Buffer.from(tenantId))
}

export function blockKey(before: PrefixKey, tokenIds: readonly number[]): PrefixKey {
  return digest(Buffer.from(before, 'binary'), Buffer.from(Uint32Array.from(tokenIds).buffer))
}

function digest(...fields: readonly Buffer[]): PrefixKey {
  const hash = createHash('sha256')
  for (const field of fields) hash.update(Uint32Array.of(field.length)).update(field)
  // The brand says that a string came from here.
  return hash.digest('binary') as PrefixKey
}
