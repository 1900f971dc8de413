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
    const pages = { slice: bench.slice(new Float32Array(blockCount * 32 * entry).fill(-7)), shape, blockCount }
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
