/**
 * What full KV blocks hold, by content: found again by any sequence of the same tenant that begins with the same tokens.
 *
 * It does not know who holds a block, nor sequences. A key is SHA-256 over length-prefixed fields, u32 little-endian:
 *
 *   root       | bytes of the fingerprint | fingerprint | bytes of the tenant id | tenant id |   UTF-8
 *   block i    | 32 | key of block i − 1, or root | token count | token ids, u32 each |
 *
 * so that a key stands for the model's bits, the tenant, and every token from position 0 to the block's last.
 */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import type { BlockId } from './batch.ts'

declare const prefixKeyBrand: unique symbol
export type PrefixKey = Buffer & { readonly [prefixKeyBrand]: true }

export function rootKey(fingerprint: string, tenantId: string): PrefixKey {
  return digest(Buffer.from(fingerprint), Buffer.from(tenantId))
}

export function blockKey(before: PrefixKey, tokenIds: readonly number[]): PrefixKey {
  return digest(before, Buffer.from(Uint32Array.from(tokenIds).buffer), tokenIds.length)
}

export class PrefixCache {
  readonly #blocks = new Map<string, BlockId>()
  readonly #names = new Map<BlockId, string>()
  /** Blocks that no table holds any more, the longest unused first. */
  readonly #idle = new Set<BlockId>()

  get idleCount(): number {
    return this.#idle.size
  }

  /** The blocks of the longest prefix that is here. */
  find(keys: readonly PrefixKey[]): BlockId[] {
    const found: BlockId[] = []
    for (const key of keys) {
      const block = this.#blocks.get(nameOf(key))
      if (block === undefined) break
      found.push(block)
    }
    return found
  }

  /** The block's content is complete and will not change until it is evicted. Of equal contents the first stays. */
  publish(key: PrefixKey, block: BlockId): void {
    const name = nameOf(key)
    if (this.#blocks.has(name)) return
    assert(!this.#names.has(block), `Cannot publish KV block ${block}: it holds something else`)
    this.#blocks.set(name, block)
    this.#names.set(block, name)
  }

  /** Its last table gave it up. @returns whether it stays here, idle. */
  retire(block: BlockId): boolean {
    const isKept = this.#names.has(block)
    if (isKept) this.#idle.add(block)
    return isKept
  }

  /** A table holds it again. */
  revive(block: BlockId): void {
    this.#idle.delete(block)
  }

  /** Forgets the block that was idle longest, for another content. */
  evict(): BlockId {
    const [block] = this.#idle
    assert(block !== undefined, 'Cannot evict a KV block: none is idle')
    this.#idle.delete(block)
    this.#blocks.delete(this.#names.get(block) ?? '')
    this.#names.delete(block)
    return block
  }

  isIdle(block: BlockId): boolean {
    return this.#idle.has(block)
  }

  checkIntegrity(): void {
    assert.equal(
      this.#blocks.size,
      this.#names.size,
      'I13: a cached KV block has two contents, or a content two blocks',
    )
    for (const [name, block] of this.#blocks)
      assert.equal(this.#names.get(block), name, 'I13: a cached KV block is lost')
    for (const block of this.#idle) assert(this.#names.has(block), `I13: KV block ${block} is kept for nothing`)
  }
}

function nameOf(key: PrefixKey): string {
  return key.toString('latin1')
}

function digest(first: Buffer, second: Buffer, secondCount = second.length): PrefixKey {
  const hash = createHash('sha256')
  hash.update(Uint32Array.of(first.length)).update(first).update(Uint32Array.of(secondCount)).update(second)
  // The brand says that a buffer came from here.
  return hash.digest() as PrefixKey
}
