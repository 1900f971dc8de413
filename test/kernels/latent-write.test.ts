/** latent-write: a row's entry is right, lies where its block table says, and nothing else is touched. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { entryLayout } from '../../gpu-worker/kernels/latent-pages.ts'
import { latentWriteReference } from '../../gpu-worker/kernels/latent-write.ref.ts'
import { latentWrite } from '../../gpu-worker/kernels/latent-write.ts'
import { openBench, type KernelBench } from '../fixtures/kernel-bench.ts'
import { seeded, worstError } from '../fixtures/numbers.ts'
import { rounded } from '../fixtures/stored-values.ts'

let bench: KernelBench
beforeAll(async () => {
  bench = await openBench()
})
afterEach(() => bench.clear())
afterAll(() => bench.close())

const NAN_WORD = 0x7fc00001

const shapes = [
  { latent: 32, rope: 16 },
  { latent: 40, rope: 8 },
  { latent: 33, rope: 6 },
  { latent: 512, rope: 64 },
  { latent: 1, rope: 2 },
]

describe.each(shapes)('latent $latent, rope $rope', (shape) => {
  it.each([true, false])('writes each row to its place (interleaved: %s)', async (isInterleaved) => {
    const { latent, rope } = shape
    const { ropeStart, entry } = entryLayout(shape)
    const weight = rounded(seeded(latent, 1), 'bf16')
    const offset = 3
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
      weight: bench.norm(weight, 'bf16'),
      pages,
    }
    await bench.run([latentWrite(operands, 1e-6, isInterleaved, 3)], 3)
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
    const touched = got.reduce((count, value) => count + Number(value !== -7), 0)
    expect(touched).toBe(3 * entry)
  })
})

/** Values whose rounding to bf16 is a question: ties both ways, halves of the largest, and what must stay itself. */
const hardWords = [
  0x3f808000, 0x3f818000, 0x3f807fff, 0x3f808001, 0xbf808000, 0xbf818000, 0x7f7fffff, 0xff7f8000, 0x7f7f7fff,
  0x7f800000, 0xff800000, 0x7f800001, 0x7fc00000, 0xffffffff, 0x7fffffff, 0x80000000, 0x00000000, 0x00800000,
  0x80ffffff, 0x3f7fffff,
]

it('pages in bf16 hold what pages in f32 hold, rounded to nearest even', async () => {
  for (const [latent, rope] of [
    [32, 16],
    [33, 6],
    [512, 64],
    [1, 2],
  ] as const) {
    const [words, halves] = await written(seeded(3 * (latent + rope), 4), { latent, rope })
    expect(halves).toEqual(words.map(nearestBf16))
  }
})

it('ties go to even, infinities and zeros keep their sign, NaN stays NaN', async () => {
  // Each value stands first in its pair and is turned by nothing; the second of each is 1.
  const rope = 2 * hardWords.length
  const own = new Uint32Array(hardWords.flatMap((word) => [word, 0x3f800000]))
  const rows = Float32Array.from({ length: 3 }, () => 1)
  const kv = new Float32Array(3 * (1 + rope))
  rows.forEach((value, row) => kv.set([value, ...new Float32Array(own.buffer)], row * (1 + rope)))
  const [, halves] = await written(kv, { latent: 1, rope })
  const got = hardWords.map((_, i) => halves[4 + 2 * i] ?? 0)
  expect(got.map(orNan)).toEqual(hardWords.map((word) => orNan(nearestBf16(word))))
})

/** Any NaN is as good as another. */
function orNan(half: number): number {
  return (half & 0x7fff) > 0x7f80 ? NaN : half
}

/** The entries of three rows at positions 0, 1 and 2, turned by nothing: words of f32 pages, halves of bf16 pages. */
async function written(
  kv: Float32Array,
  shape: { readonly latent: number; readonly rope: number },
): Promise<[words: number[], halves: number[]]> {
  const { latent, rope } = shape
  const { entry } = entryLayout(shape)
  const angles = Float32Array.from({ length: 3 * rope }, (_, i) => (i + 1) % 2)
  const operands = {
    rows: bench.slice(Uint32Array.from([0, 1, 2].flatMap((position) => [0, position, 0, 0]))),
    tables: bench.slice(Uint32Array.of(0)),
    rope: bench.slice(angles),
    kv: { activation: bench.activation(kv, latent + rope), offset: 0, width: latent + rope },
    weight: bench.norm(rounded(seeded(latent, 1), 'bf16'), 'bf16'),
  }
  const all = []
  for (const format of ['f32', 'bf16'] as const) {
    const slice = bench.slice(new Uint32Array(32 * entry).fill(NAN_WORD))
    const pages = { slice, shape, blockCount: 1, format }
    await bench.run([latentWrite({ ...operands, pages }, 1e-6, true, 3)], 3)
    const words = await bench.readU32(slice, (3 * entry) / (format === 'f32' ? 1 : 2))
    all.push(format === 'f32' ? [...words] : [...new Uint16Array(words.buffer)])
  }
  const [words = [], halves = []] = all
  return [words, halves]
}

function nearestBf16(word: number): number {
  if ((word & 0x7fffffff) > 0x7f800000) return 0x7fc0
  return ((word + 0x7fff + ((word >>> 16) & 1)) >>> 16) & 0xffff
}
