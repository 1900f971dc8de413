/**
 * Who holds which KV block, and what the full ones hold: by key they are found again, by anyone who may know the key.
 *
 * It does not know sequences, tenants or tokens.
 *
 *   references[b] = 0   free: in the free list, contents worthless; or cached: kept for its content until reused
 *   references[b] = 1   used: one table holds it; only such a block may be written, and only until it is published
 *   references[b] > 1   used: shared by that many tables: full, read-only
 */
import assert from 'node:assert/strict'
import type { BlockId } from './batch.ts'
import type { PrefixKey } from './prefix-key.ts'

export class BlockManager {
  readonly #free: BlockId[]
  readonly #references: Uint32Array
  /** What is published, both ways: a block's content does not change until it is evicted. */
  readonly #blocks = new Map<PrefixKey, BlockId>()
  readonly #keys = new Map<BlockId, PrefixKey>()
  /** Published blocks that no table holds, the longest unused first. */
  readonly #cached = new Set<BlockId>()
  readonly #onFreed: (blocks: readonly BlockId[]) => void

  /** @param onFreed told of blocks whose content nobody may read any more, before anyone can get them. */
  constructor(blockCount: number, onFreed: (blocks: readonly BlockId[]) => void = () => undefined) {
    assert(Number.isInteger(blockCount) && blockCount > 0, `Cannot build a KV pool of ${blockCount} blocks`)
    // The last of the list goes out first: ids ascend in a fresh pool, and a freed block is reused at once.
    this.#free = Array.from({ length: blockCount }, (_, index) => (blockCount - 1 - index) as BlockId)
    this.#references = new Uint32Array(blockCount)
    this.#onFreed = onFreed
  }

  get blockCount(): number {
    return this.#references.length
  }

  get freeCount(): number {
    return this.#free.length
  }

  get cachedCount(): number {
    return this.#cached.size
  }

  /** What `allocate` can give: free blocks, then cached ones, whose contents are lost. */
  get availableCount(): number {
    return this.freeCount + this.cachedCount
  }

  /** Takes blocks out of the pool for one table, which owns them until `release`. All or none. */
  allocate(count: number): BlockId[] {
    assert(count <= this.availableCount, `Cannot allocate KV blocks: need ${count}, free ${this.availableCount}`)
    const blocks = Array.from({ length: count }, () => this.#free.pop() ?? this.#evict())
    for (const block of blocks) this.#references[block] = 1
    return blocks
  }

  /** The blocks of the longest known prefix, used or cached: valid until the next `allocate`; `share` holds them. */
  find(keys: readonly PrefixKey[]): readonly BlockId[] {
    const found: BlockId[] = []
    for (const key of keys) {
      const block = this.#blocks.get(key)
      if (block === undefined) break
      found.push(block)
    }
    return found
  }

  /** Lets one more table hold these blocks, which are full and from now on read-only. */
  share(blocks: readonly BlockId[]): void {
    for (const block of blocks) {
      const references = this.referencesOf(block)
      assert(references > 0 || this.#cached.delete(block), `Cannot share KV block ${block}: it is free`)
      this.#references[block] = references + 1
    }
  }

  /** The block is full, and computed by the steps planned so far: later ones may read it. Of equal contents the first stays. */
  publish(key: PrefixKey, block: BlockId): void {
    assert(this.referencesOf(block) > 0, `Cannot publish KV block ${block}: it is free`)
    if (this.#blocks.has(key)) return
    assert(!this.#keys.has(block), `Cannot publish KV block ${block}: it holds something else`)
    this.#blocks.set(key, block)
    this.#keys.set(block, key)
  }

  /**
   * Gives up one table's hold; a block that no table holds is cached if it was published, else free again. The last of
   * the table goes first, and so is evicted first: a prefix is worthless without its beginning.
   */
  release(blocks: readonly BlockId[]): void {
    const freed: BlockId[] = []
    for (const block of blocks.toReversed()) {
      const references = this.referencesOf(block)
      assert(references > 0, `Cannot release KV block ${block}: it is free`)
      this.#references[block] = references - 1
      if (references > 1) continue
      if (this.#keys.has(block)) this.#cached.add(block)
      else freed.push(block)
    }
    if (freed.length > 0) this.#onFreed(freed)
    this.#free.push(...freed)
  }

  referencesOf(block: BlockId): number {
    const references = this.#references[block]
    assert(references !== undefined, `Cannot find KV block ${block}: the pool has ${this.blockCount}`)
    return references
  }

  /** I13: free + used + cached = total, and every count equals the number of tables that hold the block. */
  checkIntegrity(tables: Iterable<readonly BlockId[]>): void {
    const held = new Uint32Array(this.blockCount)
    for (const table of tables) for (const block of table) held[block] = (held[block] ?? 0) + 1
    assert.deepEqual(this.#references, held, 'I13: reference counts differ from the tables')
    const free = new Set(this.#free)
    assert.equal(free.size, this.freeCount, 'I13: a KV block is free twice')
    for (const [index, count] of held.entries()) {
      const block = index as BlockId
      const places = [free.has(block), count > 0, this.#cached.has(block)].filter(Boolean).length
      assert.equal(places, 1, `I13: KV block ${block} is not exactly one of free, used and cached`)
      assert(count > 0 || this.#keys.has(block) !== free.has(block), `I13: KV block ${block} is kept for nothing`)
    }
  }

  #evict(): BlockId {
    const [block] = this.#cached
    const key = block === undefined ? undefined : this.#keys.get(block)
    assert(block !== undefined && key !== undefined, 'Cannot evict a KV block: none is cached')
    this.#cached.delete(block)
    this.#blocks.delete(key)
    this.#keys.delete(block)
    this.#onFreed([block])
    return block
  }
}
