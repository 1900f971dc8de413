/** What fits where: both sides of each limit. */
import { describe, expect, it } from 'vitest'
import { blocksOf, fullest, judge, stageMemories, whatFits, type MemoryModel } from '../../../cli/plan/fit.ts'
import type { LayerWeights } from '../../../cli/plan/stages.ts'

const layer: LayerWeights = {
  bytes: 1000,
  waitingBytes: 0,
  restBytes: 400,
  restParameters: 0,
  expertBytes: 100,
  expertParameters: 0,
  dispatches: 1,
}
/** Ten layers; a block of 32 tokens is 64 bytes in each. */
const memory: MemoryModel = {
  size: {
    layers: Array.from({ length: 10 }, () => layer),
    embeddingBytes: 500,
    embeddingRowBytes: 1,
    embeddingDispatches: 1,
    headBytes: 300,
    headParameters: 0,
    headDispatches: 1,
    isTied: false,
  },
  blockTokens: 32,
  blockBytes: 64,
  contextTokensMax: 4096,
  activationBytes: ({ sequences }) => 100 + sequences,
}
const demand = { sequences: 2, contextTokens: 33 }
/** Ten layers of weights and four blocks each, embedding, head, activations. */
const NEED = 10 * (1000 + 4 * 64) + 500 + 300 + 102
const roomy = { memoryBytes: 1e9, bindingBytesMax: 1e9 }

describe('stageMemories()', () => {
  it('counts whole blocks', () => {
    expect(blocksOf(memory, demand)).toBe(4)
  })

  it('adds up to everything, activations once a device', () => {
    for (const count of [1, 2, 3, 10]) {
      const total = stageMemories(memory, demand, count).reduce((sum, { bytes }) => sum + bytes, 0)
      expect(total).toBe(NEED + (count - 1) * 102)
    }
  })

  it('says of each stage what it consists of', () => {
    for (const { weightBytes, cacheBytes, activationBytes, bytes } of stageMemories(memory, demand, 3)) {
      expect(weightBytes + cacheBytes + activationBytes).toBe(bytes)
    }
  })

  it('counts a tied head once on one device, twice on several', () => {
    const tied = { ...memory, size: { ...memory.size, isTied: true } }
    expect(fullest(stageMemories(tied, demand, 1)).bytes).toBe(NEED - 300)
    const total = stageMemories(tied, demand, 2).reduce((sum, { bytes }) => sum + bytes, 0)
    expect(total).toBe(NEED + 102)
  })
})

describe('judge()', () => {
  it('accepts memory that is just enough and refuses a byte less', () => {
    expect(judge(memory, demand, 1, { ...roomy, memoryBytes: NEED })).toMatchObject({ fits: true, freeBytes: 0 })
    expect(judge(memory, demand, 1, { ...roomy, memoryBytes: NEED - 1 })).toMatchObject({ fits: false, freeBytes: -1 })
  })

  it('refuses a cache that one binding cannot hold, whatever the memory', () => {
    const bindable = judge(memory, demand, 1, { ...roomy, bindingBytesMax: 4 * 64 })
    const beyond = judge(memory, demand, 1, { ...roomy, bindingBytesMax: 4 * 64 - 1 })
    expect(bindable).toMatchObject({ fits: true, isCacheBindable: true, cacheTokensMax: 128 })
    expect(beyond).toMatchObject({ fits: false, isCacheBindable: false, cacheTokensMax: 96 })
  })
})

describe('whatFits()', () => {
  it('finds the most sequences, the longest context and the fewest devices, each just within the limits', () => {
    const limits = { ...roomy, memoryBytes: 8000 }
    const found = whatFits(memory, demand, 2, limits)
    const fits = (sequences: number, contextTokens: number, count = 2): boolean =>
      judge(memory, { sequences, contextTokens }, count, limits).fits
    expect([fits(found.sequences, 33), fits(found.sequences + 1, 33)]).toEqual([true, false])
    expect([fits(2, found.contextTokens), fits(2, found.contextTokens + 1)]).toEqual([true, false])
    const few = { ...roomy, memoryBytes: 4000 }
    expect(whatFits(memory, demand, 2, few).purchase).toEqual({ sets: 1, sequencesEach: 2, devicesEach: 4 })
    expect(judge(memory, demand, 3, few).fits).toBe(false)
  })

  it('asks for several sets where a layer cannot hold the cache of all sequences', () => {
    const limits = { ...roomy, bindingBytesMax: 4 * 64 }
    const asked = { sequences: 5, contextTokens: 64 }
    expect(whatFits(memory, asked, 1, limits)).toMatchObject({
      sequences: 2,
      purchase: { sets: 3, sequencesEach: 2, devicesEach: 1 },
    })
  })

  it('finds nothing where a layer alone is too much', () => {
    const found = whatFits(memory, demand, 1, { ...roomy, memoryBytes: 900 })
    expect(found).toEqual({ sequences: 0, contextTokens: 0, purchase: null })
  })
})
