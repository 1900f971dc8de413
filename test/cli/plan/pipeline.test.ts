/** How layers are cut over devices, and what a round through them takes. */
import { describe, expect, it } from 'vitest'
import { cutLayers, rangeBytes, roundOf, roundSeconds, streamSeconds, type Load } from '../../../cli/plan/pipeline.ts'

const loads: readonly [name: string, load: Load][] = [
  ['equal layers', { layers: Array.from({ length: 61 }, () => 5), first: 2, last: 3, each: 1 }],
  ['a large first layer', { layers: [40, 5, 5, 5, 5, 5], first: 10, last: 0, each: 0 }],
  ['a large head', { layers: [1, 1, 1, 1], first: 0, last: 50, each: 2 }],
]

describe('cutLayers()', () => {
  it.each(loads)('covers every layer once, in order, with no empty device: %s', (_, load) => {
    for (let count = 1; count <= load.layers.length; count++) {
      const ranges = cutLayers(load, count)
      expect(ranges.length).toBe(count)
      expect([ranges[0]?.start, ranges.at(-1)?.end]).toEqual([0, load.layers.length])
      for (const [i, { start, end }] of ranges.entries()) {
        expect(end).toBeGreaterThan(start)
        expect(ranges[i + 1]?.start ?? load.layers.length).toBe(end)
      }
    }
  })

  it('leaves the fullest device as little as any cut does', () => {
    const load: Load = { layers: [7, 1, 4, 4, 9, 2, 3, 6], first: 3, last: 5, each: 1 }
    for (const count of [2, 3]) {
      const most = (cuts: readonly number[]): number => {
        const edges = [0, ...cuts, load.layers.length]
        return Math.max(
          ...cuts.concat(0).map((_, i) => rangeBytes(load, { start: edges[i] ?? 0, end: edges[i + 1] ?? 0 })),
        )
      }
      const all = [1, 2, 3, 4, 5, 6, 7].flatMap((a) =>
        count === 2 ? [[a]] : [1, 2, 3, 4, 5, 6, 7].filter((b) => b > a).map((b) => [a, b]),
      )
      const best = Math.min(...all.map(most))
      expect(Math.max(...cutLayers(load, count).map((range) => rangeBytes(load, range)))).toBe(best)
    }
  })

  it('spreads the layers evenly where that costs the fullest nothing', () => {
    const load: Load = { layers: Array.from({ length: 61 }, () => 5), first: 0, last: 0, each: 0 }
    const sizes = cutLayers(load, 8).map(({ start, end }) => end - start)
    expect([Math.min(...sizes), Math.max(...sizes)]).toEqual([7, 8])
  })

  it('uses no more devices than there are layers', () => {
    expect(cutLayers({ layers: [1, 1, 1], first: 0, last: 0, each: 0 }, 8).length).toBe(3)
  })
})

describe('a round', () => {
  it('has as many micro-batches as stages, or as sequences when they are fewer', () => {
    expect(roundOf(64, 8)).toEqual({ microBatches: 8, sequencesEach: 8 })
    expect(roundOf(3, 8)).toEqual({ microBatches: 3, sequencesEach: 1 })
    expect(roundOf(9, 8)).toEqual({ microBatches: 5, sequencesEach: 2 })
    expect(roundOf(64, 1)).toEqual({ microBatches: 1, sequencesEach: 64 })
  })

  it('takes the sum of the stages, or the slowest stage once for each micro-batch', () => {
    expect(roundSeconds([1, 2, 3], { microBatches: 1, sequencesEach: 1 })).toBe(6)
    expect(roundSeconds([1, 2, 3], { microBatches: 3, sequencesEach: 1 })).toBe(9)
  })
})

describe('streamSeconds()', () => {
  it('lets chunks follow each other through the stages', () => {
    expect(streamSeconds([[2], [2], [2]])).toBe(6)
    expect(
      streamSeconds([
        [2, 2],
        [2, 2],
        [2, 2],
      ]),
    ).toBe(8)
    expect(
      streamSeconds([
        [1, 5],
        [1, 5],
      ]),
    ).toBe(11)
  })
})
