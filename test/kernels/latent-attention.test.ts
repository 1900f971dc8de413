/** latent-attention: against f64 at the edges of blocks, tiles and splits; blind to whatever else the pool holds. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { latentAttentionReference } from '../../gpu-worker/kernels/latent-attention.ref.ts'
import { latentAttention } from '../../gpu-worker/kernels/latent-attention.ts'
import {
  entryLayout,
  type LatentPages,
  type LatentShape,
  type PageFormat,
} from '../../gpu-worker/kernels/latent-pages.ts'
import { openBench, type KernelBench } from '../fixtures/kernel-bench.ts'
import { bits, seeded, worstError } from '../fixtures/numbers.ts'
import { packedRows, rounded } from '../fixtures/stored-values.ts'

let bench: KernelBench
beforeAll(async () => {
  bench = await openBench()
})
afterEach(() => bench.clear())
afterAll(() => bench.close())

const BLOCK = 32
const SCALE = 0.17

interface Pool {
  readonly pages: LatentPages
  /** What each key's entry holds. */
  readonly entries: Float32Array[]
}

/** A sequence of `keys` entries in the given blocks of a pool that is NaN everywhere else. */
function pool(keys: number, blocks: readonly number[], shape: LatentShape, format: PageFormat): Pool {
  const { entry } = entryLayout(shape)
  const values = new Float32Array((Math.max(...blocks) + 1) * BLOCK * entry).fill(NaN)
  const entries = Array.from({ length: keys }, (_, j) => rounded(seeded(entry, j + 1), format))
  entries.forEach((own, j) => values.set(own, ((blocks[Math.floor(j / BLOCK)] ?? 0) * BLOCK + (j % BLOCK)) * entry))
  const slice = bench.slice(packedRows(values, values.length, format))
  return { pages: { slice, shape, blockCount: values.length / BLOCK / entry, format }, entries }
}

const shapes = [
  { headCount: 2, nope: 0, rope: 16, latent: 32, value: 0, format: 'f32' },
  { headCount: 2, nope: 0, rope: 16, latent: 32, value: 0, format: 'f16' },
  { headCount: 1, nope: 0, rope: 64, latent: 512, value: 0, format: 'f32' },
  { headCount: 1, nope: 0, rope: 64, latent: 512, value: 0, format: 'f16' },
  { headCount: 3, nope: 0, rope: 6, latent: 33, value: 0, format: 'f16' },
] as const

describe.each(shapes)('latent $latent, rope $rope, pages in $format', ({ format, ...shape }) => {
  it('is right for one key, at tile and split edges, and over several splits', async () => {
    const { headCount, latent } = shape
    const { entry, ropeStart } = entryLayout(shape)
    const most = 1100
    const blocks = Array.from({ length: Math.ceil(most / BLOCK) }, (_, i) => (i * 11 + 3) % 35)
    const { pages, entries } = pool(most, blocks, shape, format)
    const lengths = [1, 2, 31, 33, 63, 64, 65, 127, 128, 129, 511, 512, 513, 1024, 1025, 1100]
    const queries = seeded(lengths.length * headCount * entry, 5, 0.5)
    const operands = {
      rows: bench.slice(Uint32Array.from(lengths.flatMap((length) => [0, length - 1, 2, 0]))),
      tables: bench.slice(Uint32Array.from([0, 0, ...blocks])),
      pages,
      queries: bench.slice(queries),
      mixed: bench.slice(new Float32Array(lengths.length * headCount * ropeStart)),
    }
    await bench.run([latentAttention(operands, shape, SCALE, lengths.length)], lengths.length)
    const got = await bench.readF32(operands.mixed, lengths.length * headCount * ropeStart)
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

it.each(['f32', 'f16'] as const)(
  'a row gives the same bits alone and beside others, whatever its blocks (%s)',
  async (format) => {
    const shape = { headCount: 2, nope: 0, rope: 8, latent: 40, value: 0 }
    const { entry, ropeStart } = entryLayout(shape)
    const results = []
    for (const [blocks, lengths] of [
      [[4, 0, 3], [70]],
      [
        [1, 2, 5],
        [3, 70, 64],
      ],
    ] as const) {
      const { pages } = pool(70, blocks, shape, format)
      const own = seeded(2 * entry, 9)
      const operands = {
        rows: bench.slice(Uint32Array.from(lengths.flatMap((length) => [0, length - 1, 0, 0]))),
        tables: bench.slice(Uint32Array.from(blocks)),
        pages,
        queries: bench.slice(
          Float32Array.from(lengths.flatMap((length) => [...(length === 70 ? own : seeded(2 * entry, 1))])),
        ),
        mixed: bench.slice(new Float32Array(lengths.length * 2 * ropeStart)),
      }
      await bench.run([latentAttention(operands, shape, SCALE, lengths.length)], lengths.length)
      const at = lengths.findIndex((length) => length === 70) * 2 * ropeStart
      results.push(
        bits((await bench.readF32(operands.mixed, lengths.length * 2 * ropeStart)).slice(at, at + 2 * ropeStart)),
      )
    }
    expect(results[1]).toEqual(results[0])
  },
)
