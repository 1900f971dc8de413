/** I13 at its source: blocks leave and return one by one, and every hold is counted. */
import { array, assert, constantFrom, nat, property, record } from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { BlockId } from '../../gpu-worker/engine/batch.ts'
import { BlockManager } from '../../gpu-worker/engine/block-manager.ts'
import { rootKey } from '../../gpu-worker/engine/prefix-key.ts'

const block = (id: number) => id as BlockId

describe('BlockManager', () => {
  it('allocate() gives the whole pool and not one block more', () => {
    const manager = new BlockManager(3)
    expect(manager.allocate(3)).toEqual([0, 1, 2])
    expect(manager.freeCount).toBe(0)
    expect(() => manager.allocate(1)).toThrow('Cannot allocate KV blocks: need 1, free 0')
  })

  it('allocate() beyond what is free names both numbers and takes nothing', () => {
    const manager = new BlockManager(15)
    const table = manager.allocate(12)
    expect(() => manager.allocate(12)).toThrow('Cannot allocate KV blocks: need 12, free 3')
    expect(manager.freeCount).toBe(3)
    manager.checkIntegrity([table])
  })

  it('a shared block is free only when its last table gives it up', () => {
    const manager = new BlockManager(4)
    const first = manager.allocate(2)
    const second = [...first.slice(0, 1), ...manager.allocate(1)]
    manager.share(first.slice(0, 1))
    manager.checkIntegrity([first, second])
    manager.release(first)
    expect(manager.freeCount).toBe(2)
    manager.checkIntegrity([second])
    manager.release(second)
    expect(manager.freeCount).toBe(4)
    manager.checkIntegrity([])
  })

  it('a free block can be neither released nor shared, and one outside the pool not even asked about', () => {
    const manager = new BlockManager(2)
    expect(() => manager.release([block(0)])).toThrow('Cannot release KV block 0: it is free')
    expect(() => manager.share([block(1)])).toThrow('Cannot share KV block 1: it is free')
    expect(() => manager.referencesOf(block(2))).toThrow('Cannot find KV block 2: the pool has 2')
  })

  it('tells of freed blocks when the last table gives them up, and of cached ones when they are evicted', () => {
    const told: (readonly BlockId[])[] = []
    const manager = new BlockManager(3, (blocks) => told.push(blocks))
    const table = manager.allocate(2)
    manager.share(table)
    manager.publish(rootKey('model', 'acme'), block(0))
    manager.release(table)
    expect(told).toEqual([])
    manager.release(table)
    expect(told).toEqual([[1]])
    manager.allocate(3)
    expect(told).toEqual([[1], [0]])
  })

  it('checkIntegrity() notices a table it was not told of and a hold that no table has', () => {
    const manager = new BlockManager(2)
    const table = manager.allocate(1)
    expect(() => manager.checkIntegrity([])).toThrow('I13')
    expect(() => manager.checkIntegrity([table, table])).toThrow('I13')
  })

  it('I13: holds under any order of allocate, share and release', () => {
    const operation = record({ kind: constantFrom('allocate', 'share', 'release'), pick: nat(7) })
    const keepsCount = property(array(operation, { maxLength: 60 }), (operations) => {
      const manager = new BlockManager(10)
      const tables: BlockId[][] = []
      for (const { kind, pick } of operations) {
        const at = tables.length === 0 ? 0 : pick % tables.length
        if (kind === 'allocate' && pick <= manager.freeCount) tables.push(manager.allocate(pick))
        if (kind === 'share') {
          manager.share(tables[at] ?? [])
          tables.push([...(tables[at] ?? [])])
        }
        if (kind === 'release') manager.release(tables.splice(at, 1)[0] ?? [])
        manager.checkIntegrity(tables)
        expect(manager.freeCount).toBe(10 - new Set(tables.flat()).size)
      }
    })
    assert(keepsCount, { seed: 1, numRuns: 500 })
  })
})
