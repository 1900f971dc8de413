/**
 * What full KV blocks hold, by content: found again by any sequence of the same tenant that begins with the same tokens.
 *
 * It does not know who holds a block, nor sequences. A key is SHA-256 over length-prefixed fields, u32 little-endian:
 *
 *   root       | byte count | fingerprint | byte count | tenant id |   UTF-8
 *   block i    | 32 | key of block i − 1, or root | byte count | token ids, u32 each |
 *
 * so that a key stands for the model's bits, the tenant, and every token from position 0 to the block's last.
 */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import type { BlockId } from './batch.ts'

declare const prefixKeyBrand: unique symbol
/** The 32 bytes of a digest, a character each. */
export type PrefixKey = string & { readonly [prefixKeyBrand]: true }

export function rootKey(fingerprint: string, tenantId: string): PrefixKey {
  return digest(Buffer.from(fingerprint), Buffer.from(tenantId))
}

export function blockKey(before: PrefixKey, tokenIds: readonly number[]): PrefixKey {
  return digest(Buffer.from(before, 'binary'), Buffer.from(Uint32Array.from(tokenIds).buffer))
}

export class PrefixCache {
  readonly #blocks = new Map<PrefixKey, BlockId>()
  readonly #keys = new Map<BlockId, PrefixKey>()

  has(block: BlockId): boolean {
    return this.#keys.has(block)
  }

  /** The blocks of the longest prefix that is here. */
  find(keys: readonly PrefixKey[]): BlockId[] {
    const found: BlockId[] = []
    for (const key of keys) {
      const block = this.#blocks.get(key)
      if (block === undefined) break
      found.push(block)
    }
    return found
  }

  /** The block's content will not change until it is forgotten. Of equal contents the first stays. */
  publish(key: PrefixKey, block: BlockId): void {
    if (this.#blocks.has(key)) return
    assert(!this.has(block), `Cannot publish KV block ${block}: it holds something else`)
    this.#blocks.set(key, block)
    this.#keys.set(block, key)
  }

  forget(block: BlockId): void {
    const key = this.#keys.get(block)
    assert(key !== undefined, `Cannot forget KV block ${block}: nobody published it`)
    this.#blocks.delete(key)
    this.#keys.delete(block)
  }
}

function digest(...fields: readonly Buffer[]): PrefixKey {
  const hash = createHash('sha256')
  for (const field of fields) hash.update(Uint32Array.of(field.length)).update(field)
  // The brand says that a buffer came from here.
  return hash.digest('binary') as PrefixKey
}
