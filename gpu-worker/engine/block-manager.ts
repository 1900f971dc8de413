/**
 * Who holds which KV block: a free list and a reference count for every block of the pool.
 *
 * It does not know sequences, tokens, or what a block contains.
 *
 *   references[b] = 0   free: in the free list, contents worthless
 *   references[b] = 1   one table holds it; only such a block may be written
 *   references[b] > 1   shared by that many tables: full, read-only
 */
import assert from 'node:assert/strict'
import type { BlockId } from './batch.ts'

export class BlockManager {
  readonly #free: BlockId[]
  readonly #references: Uint32Array

  constructor(blockCount: number) {
    assert(Number.isInteger(blockCount) && blockCount > 0, `Cannot build a KV pool of ${blockCount} blocks`)
    // The last of the list goes out first: ids ascend in a fresh pool, and a freed block is reused at once.
    this.#free = Array.from({ length: blockCount }, (_, index) => (blockCount - 1 - index) as BlockId)
    this.#references = new Uint32Array(blockCount)
  }

  get blockCount(): number {
    return this.#references.length
  }

  get freeCount(): number {
    return this.#free.length
  }

  /** Takes blocks out of the pool for one table, which owns them until `release`. All or none. */
  allocate(count: number): BlockId[] {
    assert(count <= this.#free.length, `Cannot allocate KV blocks: need ${count}, free ${this.#free.length}`)
    const blocks = this.#free.splice(this.#free.length - count, count).toReversed()
    for (const block of blocks) this.#references[block] = 1
    return blocks
  }

  /** Lets one more table hold these blocks, which are full and from now on read-only. */
  share(blocks: readonly BlockId[]): void {
    for (const block of blocks) {
      const references = this.referencesOf(block)
      assert(references > 0, `Cannot share KV block ${block}: it is free`)
      this.#references[block] = references + 1
    }
  }

  /** Gives up one table's hold; a block that no table holds is free again. */
  release(blocks: readonly BlockId[]): void {
    for (const block of blocks) {
      const references = this.referencesOf(block)
      assert(references > 0, `Cannot release KV block ${block}: it is free`)
      this.#references[block] = references - 1
      if (references === 1) this.#free.push(block)
    }
  }

  referencesOf(block: BlockId): number {
    const references = this.#references[block]
    assert(references !== undefined, `Cannot find KV block ${block}: the pool has ${this.blockCount}`)
    return references
  }

  /** I13: free + used = total, and every count equals the number of tables that hold the block. Throws if not. */
  checkIntegrity(tables: Iterable<readonly BlockId[]>): void {
    const held = new Uint32Array(this.blockCount)
    for (const table of tables) for (const block of table) held[block] = (held[block] ?? 0) + 1
    assert.deepEqual(this.#references, held, 'I13: reference counts differ from the tables')
    const free = new Set(this.#free)
    assert.equal(free.size, this.freeCount, 'I13: a KV block is free twice')
    for (const [block, count] of held.entries())
      assert.equal(free.has(block as BlockId), count === 0, `I13: KV block ${block} is both free and used, or neither`)
  }
}
