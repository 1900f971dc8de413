/** I13 and I8 where content meets blocks: keys that stand for one content of one tenant, and who is forgotten first. */
import { describe, expect, it } from 'vitest'
import type { BlockId } from '../../gpu-worker/engine/batch.ts'
import { BlockManager } from '../../gpu-worker/engine/block-manager.ts'
import { blockKey, type PrefixKey, rootKey } from '../../gpu-worker/engine/prefix-key.ts'

const root = rootKey('model', 'acme')

/** Keys of blocks of one token each. */
function chain(tokens: readonly number[], from = root): PrefixKey[] {
  const keys: PrefixKey[] = []
  for (const token of tokens) keys.push(blockKey(keys.at(-1) ?? from, [token]))
  return keys
}

/** A table of these contents, published and released. */
function cached(manager: BlockManager, tokens: readonly number[]): readonly BlockId[] {
  const blocks = manager.allocate(tokens.length)
  for (const [at, key] of chain(tokens).entries()) manager.publish(key, blocks[at] ?? (0 as BlockId))
  manager.release(blocks)
  manager.checkIntegrity([])
  return blocks
}

describe('prefix keys', () => {
  it('are equal for equal model, tenant and tokens from position 0 on, and for nothing else', () => {
    const keys = [
      root,
      rootKey('model', 'acme2'),
      rootKey('modela', 'cme'),
      rootKey('model2', 'acme'),
      rootKey('', 'modelacme'),
      blockKey(root, [1, 2]),
      blockKey(root, [2, 1]),
      blockKey(root, [1]),
      blockKey(root, [1, 2, 0]),
      blockKey(blockKey(root, [1]), [2]),
      blockKey(rootKey('model', 'zenith'), [1, 2]),
      blockKey(root, [1, 2 + 2 ** 16]),
    ]
    expect(new Set(keys).size).toBe(keys.length)
    expect(blockKey(rootKey('model', 'acme'), [1, 2])).toEqual(blockKey(root, [1, 2]))
    expect(keys.every((key) => key.length === 32)).toBe(true)
  })
})

describe('cached blocks', () => {
  it('are found as the longest prefix, and hold when shared', () => {
    const manager = new BlockManager(8)
    const blocks = cached(manager, [1, 2, 3])
    expect(manager.find(chain([1, 2, 9]))).toEqual(blocks.slice(0, 2))
    expect(manager.find(chain([2, 3]))).toEqual([])
    manager.share(blocks.slice(0, 2))
    expect(manager.find(chain([1, 2, 3]))).toEqual(blocks)
    expect([manager.freeCount, manager.cachedCount]).toEqual([5, 1])
    manager.checkIntegrity([blocks.slice(0, 2)])
  })

  it('I13: free + used + cached = total; allocate() takes free ones first, then evicts, and finds no evicted one', () => {
    const manager = new BlockManager(4)
    cached(manager, [1, 2, 3])
    expect(manager.availableCount).toBe(4)
    const table = manager.allocate(3)
    manager.checkIntegrity([table])
    expect([manager.freeCount, manager.cachedCount]).toEqual([0, 1])
    expect(manager.find(chain([1, 2, 3]))).toHaveLength(1)
    expect(() => manager.allocate(2)).toThrow('Cannot allocate KV blocks: need 2, free 1')
  })

  it('are forgotten the longest unused first; a hit makes them new again', () => {
    const manager = new BlockManager(4)
    cached(manager, [1, 2])
    cached(manager, [3, 4])
    const blocks = manager.find(chain([1, 2]))
    manager.share(blocks)
    manager.release(blocks)
    manager.allocate(2)
    expect(manager.find(chain([1, 2]))).toHaveLength(2)
    expect(manager.find(chain([3, 4]))).toEqual([])
  })

  it('of equal contents the first stays, the other is free when released', () => {
    const manager = new BlockManager(4)
    const [first] = cached(manager, [1])
    const second = manager.allocate(1)
    manager.publish(chain([1])[0] ?? root, second[0] ?? (0 as BlockId))
    manager.release(second)
    manager.checkIntegrity([])
    expect([manager.freeCount, manager.cachedCount]).toEqual([3, 1])
    expect(manager.find(chain([1]))).toEqual([first])
  })

  it('a free block can be neither published nor shared', () => {
    const manager = new BlockManager(2)
    expect(() => manager.publish(root, 0 as BlockId)).toThrow('Cannot publish KV block 0: it is free')
    expect(() => manager.share([0 as BlockId])).toThrow('Cannot share KV block 0: it is free')
  })
})
