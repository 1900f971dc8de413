/**
 * latent-attention, each shader that an adapter may run: against f64 at the edges of blocks, tiles and splits; blind to
 * whatever else the pool holds; and the same bits however a step's attention is cut into work.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { latentAttentionReference } from '../../gpu-worker/kernels/latent-attention.ref.ts'
import { entryLayout } from '../../gpu-worker/kernels/latent-pages.ts'
import { BLOCK_TOKENS } from '../../gpu-worker/kernels/step-input.ts'
import { attend, pool, SCALE } from '../fixtures/attention-step.ts'
import { openBench, type KernelBench } from '../fixtures/kernel-bench.ts'
import { bits, seeded, worstError } from '../fixtures/numbers.ts'

let bench: KernelBench

const adapters = [
  ['as this adapter runs it', {}],
  ['as a GPU runs it', { processor: 'gpu' }],
] as const

const shapes = [
  { headCount: 2, nope: 0, rope: 16, latent: 32, value: 0, format: 'f32' },
  { headCount: 2, nope: 0, rope: 16, latent: 32, value: 0, format: 'f16' },
  { headCount: 1, nope: 0, rope: 64, latent: 512, value: 0, format: 'f32' },
  { headCount: 1, nope: 0, rope: 64, latent: 512, value: 0, format: 'f16' },
  { headCount: 3, nope: 0, rope: 6, latent: 33, value: 0, format: 'f16' },
] as const

describe.each(adapters)('%s', (_name, options) => {
  beforeAll(async () => {
    bench = await openBench(options)
  })
  afterEach(() => bench.clear())
  afterAll(() => bench.close())

  describe.each(shapes)('latent $latent, rope $rope, pages in $format', ({ format, ...shape }) => {
    it('is right for one key, at tile and split edges, and over several splits', async () => {
      const { headCount, latent } = shape
      const { entry, ropeStart } = entryLayout(shape)
      const most = 1100
      const blocks = Array.from({ length: Math.ceil(most / BLOCK_TOKENS) }, (_, i) => (i * 11 + 3) % 35)
      const { pages, entries } = pool(bench, most, blocks, shape, format)
      const lengths = [1, 2, 31, 33, 63, 64, 65, 127, 128, 129, 511, 512, 513, 1024, 1025, 1100]
      const queries = seeded(lengths.length * headCount * entry, 5, 0.5)
      const got = await attend(bench, { lengths, blocks, pages, queries }, shape)
      lengths.forEach((length, row) => {
        for (let head = 0; head < headCount; head++) {
          const at = row * headCount + head
          const query = queries.subarray(at * entry, (at + 1) * entry)
          const wanted = latentAttentionReference(query, entries.slice(0, length), latent, SCALE)
          // Scores are below ~20 in size and off by a few 1e-6: so are the weights; outputs are below 3.
          expect(
            worstError(got.subarray(at * ropeStart, at * ropeStart + latent), wanted, 3),
            `${length} keys`,
          ).toBeLessThan(1e-5)
        }
      })
    })
  })

  describe.each(['f32', 'f16'] as const)('in %s', (format) => {
    const shape = { headCount: 2, nope: 0, rope: 8, latent: 40, value: 0 }
    const queriesOf = (lengths: readonly number[]): Float32Array<ArrayBuffer> =>
      Float32Array.from(lengths.flatMap((length) => [...seeded(2 * entryLayout(shape).entry, length)]))

    it('a row gives the same bits alone and beside others, whatever its blocks', async () => {
      const own: Uint32Array[] = []
      for (const [blocks, lengths] of [
        [[4, 0, 3], [70]],
        [
          [1, 2, 5],
          [3, 70, 64],
        ],
      ] as const) {
        const { pages } = pool(bench, 70, blocks, shape, format)
        const got = await attend(bench, { lengths, blocks, pages, queries: queriesOf(lengths) }, shape)
        const width = got.length / lengths.length
        const at = lengths.findIndex((length) => length === 70) * width
        own.push(bits(got.slice(at, at + width)))
      }
      expect(own[1]).toEqual(own[0])
    })

    it('splits computed apart and merged give the bits of a row computed in turn, in one round or several', async () => {
      const most = 5000
      const blocks = Array.from({ length: Math.ceil(most / BLOCK_TOKENS) }, (_, i) => (i * 11 + 3) % 160)
      const { pages } = pool(bench, most, blocks, shape, format)
      const lengths = [1, 63, 64, 65, 511, 512, 513, 1023, 1024, 1025, 3000, 4999, 5000, 2, 513]
      const step = { lengths, blocks, pages, queries: queriesOf(lengths) }
      const inTurn = bits(await attend(bench, step, shape, 0))
      // 10 splits of the longest; all of them are 41.
      for (const slotCount of [10, 14, 60]) expect(bits(await attend(bench, step, shape, slotCount))).toEqual(inTurn)
    })
  })
})
