/** latent-write: a row's entry and its query are right, the entry lies where its block table says, and nothing else is touched. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { entryLayout, type LatentShape, type PageFormat } from '../../gpu-worker/kernels/latent-pages.ts'
import { rmsNormReference } from '../../gpu-worker/kernels/rms-norm.ref.ts'
import { latentWriteReference } from '../../gpu-worker/kernels/latent-write.ref.ts'
import { latentWrite } from '../../gpu-worker/kernels/latent-write.ts'
import { formFor, openBench, type KernelBench } from '../fixtures/kernel-bench.ts'
import { seeded, worstError } from '../fixtures/numbers.ts'

let bench: KernelBench
beforeAll(async () => {
  bench = await openBench()
})
afterEach(() => bench.clear())
afterAll(() => bench.close())

/** Values before the latent: the low-rank query. */
const offset = 3
const NAN_WORD = 0x7fc00001

const shapes = [
  { latent: 32, rope: 16 },
  { latent: 40, rope: 8 },
  { latent: 33, rope: 6 },
  { latent: 512, rope: 64 },
  { latent: 1, rope: 2 },
]

const ways = (['cpu', 'gpu'] as const).flatMap((processor) =>
  [true, false].map((isInterleaved) => ({ processor, isInterleaved })),
)

describe.each(shapes)('latent $latent, rope $rope', (shape) => {
  it.each(ways)(
    'on a $processor, writes each row to its place (interleaved: $isInterleaved)',
    async ({ processor, isInterleaved }) => {
      const { latent, rope } = shape
      const { ropeStart, entry } = entryLayout(shape)
      const weight = seeded(latent, 1)
      const queryWeight = seeded(offset, 3)
      const width = offset + latent + rope
      const dense = seeded(3 * width, 2)
      const angles = Array.from(
        { length: 3 * (rope / 2) },
        (_, i) => [Math.fround(Math.cos(i)), Math.fround(Math.sin(i))] as const,
      )
      const blockCount = 4
      const pages = {
        slice: bench.slice(new Float32Array(blockCount * 32 * entry).fill(-7)),
        shape,
        blockCount,
        format: 'f32' as const,
      }
      // Positions 0, 31 and 32 of a sequence in blocks 2 and 1; the table starts at entry 1.
      const rows = bench.slice(
        Uint32Array.from(
          [
            [0, 0, 1, 0],
            [0, 31, 1, 0],
            [0, 32, 1, 0],
          ].flat(),
        ),
      )
      const operands = {
        rows,
        tables: bench.slice(Uint32Array.of(3, 2, 1)),
        rope: bench.slice(Float32Array.from(angles.flat())),
        kv: { activation: bench.activation(dense, width), offset, width: latent + rope },
        weight: bench.norm(weight),
        pages,
        queryWeight: bench.norm(queryWeight),
        query: bench.result(3, offset),
      }
      await bench.run(formFor(processor, latentWrite(operands, 1e-6, isInterleaved, 3)), 3)
      const got = await bench.readF32(pages.slice, blockCount * 32 * entry)
      const places = [2 * 32, 2 * 32 + 31, 32]
      places.forEach((place, row) => {
        const own = dense.subarray(row * width + offset, (row + 1) * width)
        const turns = angles.slice((row * rope) / 2, ((row + 1) * rope) / 2)
        const wanted = latentWriteReference(
          own.subarray(0, latent),
          weight,
          1e-6,
          own.subarray(latent),
          turns,
          isInterleaved,
        )
        const at = place * entry
        expect(worstError(got.subarray(at, at + latent), wanted.latent, wanted.latent.map(Math.abs))).toBeLessThan(2e-6)
        // One product and one fma: two roundings of values below 6.
        expect(worstError(got.subarray(at + ropeStart, at + ropeStart + rope), wanted.key, 6)).toBeLessThan(2e-7)
        expect([...got.subarray(at + latent, at + ropeStart)].every((value) => value === 0)).toBe(true)
      })
      const queries = await bench.read(operands.query, 3)
      for (const row of [0, 1, 2]) {
        const own = dense.subarray(row * width, row * width + offset)
        const normed = rmsNormReference(own, queryWeight, 1e-6)
        expect(
          worstError(queries.subarray(row * offset, (row + 1) * offset), normed, normed.map(Math.abs)),
        ).toBeLessThan(2e-6)
      }
      const touched = got.reduce((count, value) => count + Number(value !== -7), 0)
      expect(touched).toBe(3 * entry)
    },
  )
})

/** Values whose rounding to f16 is a question: ties both ways, edges of each range, and what must stay itself. */
// oxfmt-ignore
const hardSizes = [
  1 + 2 ** -11, 1 + 3 * 2 ** -11, 1 + 2 ** -11 + 2 ** -23, 1 + 2 ** -11 - 2 ** -23, 2 - 2 ** -11, 0.1, 1 / 3,
  65_504, 65_519.99, 65_520, 65_536, 3.4e38, Infinity, NaN, 0,
  2 ** -14, 2 ** -14 - 2 ** -25, 2 ** -14 - 2 ** -26, 3 * 2 ** -25, 5 * 2 ** -25, 1.1 * 2 ** -15,
  2 ** -24, 2 ** -25, 2 ** -25 + 2 ** -40, 2 ** -30, 2 ** -126,
]
const hardValues = hardSizes.flatMap((size) => [Math.fround(size), -Math.fround(size)])

it('pages in f16 hold what pages in f32 hold, rounded to nearest', async () => {
  for (const [latent, rope] of [
    [32, 16],
    [33, 6],
    [512, 64],
    [1, 2],
  ] as const) {
    const [values, halves] = await written(seeded(3 * (latent + rope), 4), { latent, rope })
    expect(halves).toEqual(new Float16Array(values))
  }
})

it('f16 ties go to even, what is too large is infinite, zeros keep their sign, NaN stays NaN', async () => {
  // Each value stands first in its pair and is turned by nothing; the second of each is 1.
  const shape = { latent: 1, rope: 2 * hardValues.length }
  const row = [1, ...hardValues.flatMap((value) => [value, 1])]
  const [, halves] = await written(Float32Array.from([row, row, row].flat()), shape)
  const firsts = hardValues.map((_, i) => halves[entryLayout(shape).ropeStart + 2 * i])
  expect(firsts).toEqual([...new Float16Array(hardValues)])
})

/** The entries of three rows at positions 0, 1 and 2, turned by nothing, in pages of f32 and of f16. */
async function written(kv: Float32Array, shape: LatentShape): Promise<[Float32Array, Float16Array]> {
  const { latent, rope } = shape
  const { entry } = entryLayout(shape)
  const operands = {
    rows: bench.slice(Uint32Array.from([0, 1, 2].flatMap((position) => [0, position, 0, 0]))),
    tables: bench.slice(Uint32Array.of(0)),
    rope: bench.slice(Float32Array.from({ length: 3 * rope }, (_, i) => (i + 1) % 2)),
    kv: { activation: bench.activation(kv, latent + rope), offset: 0, width: latent + rope },
    weight: bench.norm(seeded(latent, 1)),
    queryWeight: null,
    query: bench.result(3, 1),
  }
  const read = async (format: PageFormat): Promise<ArrayBuffer> => {
    const slice = bench.slice(new Uint32Array(32 * entry).fill(NAN_WORD))
    const pages = { slice, shape, blockCount: 1, format }
    await bench.run(latentWrite({ ...operands, pages }, 1e-6, true, 3), 3)
    return (await bench.readU32(slice, (3 * entry) / (format === 'f32' ? 1 : 2))).slice().buffer
  }
  return [new Float32Array(await read('f32')), new Float16Array(await read('f16'))]
}
