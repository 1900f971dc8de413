/**
 * latent-attention: against f64 at the edges of blocks, tiles and splits; blind to whatever else the pool holds; and the
 * same bits however a step's attention is cut into work.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { ofStep } from '../../gpu-worker/gpu/recipe.ts'
import { layOutAttentionWork, planAttention, slotCountFor } from '../../gpu-worker/kernels/attention-plan.ts'
import type { AttentionShape } from '../../gpu-worker/kernels/attention-shape.ts'
import { latentAttentionReference } from '../../gpu-worker/kernels/latent-attention.ref.ts'
import { latentAttention } from '../../gpu-worker/kernels/latent-attention.ts'
import { partBytes } from '../../gpu-worker/kernels/latent-merge.ts'
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

interface Step {
  /** Of each row: keys of the one sequence it attends to. */
  readonly lengths: readonly number[]
  readonly blocks: readonly number[]
  readonly pages: LatentPages
  /** f32 [rows, heads, entry] */
  readonly queries: Float32Array<ArrayBuffer>
}

/** f32 [rows, heads, latent padded to 4]; without slots every row is computed in turn. */
async function attend(
  { lengths, blocks, pages, queries }: Step,
  shape: AttentionShape,
  slotCount = slotCountFor(Math.max(...lengths), lengths.length, partBytes(shape), Infinity),
): Promise<Float32Array> {
  const memory = {
    bindingBytesMax: Infinity,
    storage: (_: string, bytes: number) => bench.slice(new Float32Array(Math.max(4, bytes / 4)).fill(NaN)),
  }
  const work = layOutAttentionWork(memory, { slotCount, rowsMax: lengths.length })
  const { writes, counts } = planAttention(lengths, work)
  for (const { slice, at, values } of writes) if (values.length > 0) bench.write(slice, values, at)
  const width = shape.headCount * entryLayout(shape).ropeStart
  const operands = {
    rows: bench.slice(Uint32Array.from(lengths.flatMap((length) => [0, length - 1, 2, 0]))),
    tables: bench.slice(Uint32Array.from([0, 0, ...blocks])),
    work,
    pages,
    queries: bench.slice(queries),
    parts: memory.storage('parts', slotCount * partBytes(shape)),
    mixed: memory.storage('mixed', lengths.length * width * 4),
  }
  await bench.run(ofStep(latentAttention(operands, shape, SCALE), counts), 1)
  return bench.readF32(operands.mixed, lengths.length * width)
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
    const got = await attend({ lengths, blocks, pages, queries }, shape)
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
      const { pages } = pool(70, blocks, shape, format)
      const got = await attend({ lengths, blocks, pages, queries: queriesOf(lengths) }, shape)
      const width = got.length / lengths.length
      const at = lengths.findIndex((length) => length === 70) * width
      own.push(bits(got.slice(at, at + width)))
    }
    expect(own[1]).toEqual(own[0])
  })

  it('splits computed apart and merged give the bits of a row computed in turn, in one round or several', async () => {
    const most = 5000
    const blocks = Array.from({ length: Math.ceil(most / BLOCK) }, (_, i) => (i * 11 + 3) % 160)
    const { pages } = pool(most, blocks, shape, format)
    const lengths = [1, 63, 64, 65, 511, 512, 513, 1023, 1024, 1025, 3000, 4999, 5000, 2, 513]
    const step = { lengths, blocks, pages, queries: queriesOf(lengths) }
    const inTurn = bits(await attend(step, shape, 0))
    // 10 splits of the longest; all of them are 41.
    for (const slotCount of [10, 14, 60]) expect(bits(await attend(step, shape, slotCount))).toEqual(inTurn)
  })
})
