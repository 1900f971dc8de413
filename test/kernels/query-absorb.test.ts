/** query-absorb: each head's query in latent space against f64, whole heads in any window. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { entryLayout } from '../../gpu-worker/kernels/latent-pages.ts'
import { queryAbsorbReference } from '../../gpu-worker/kernels/query-absorb.ref.ts'
import { queryAbsorb } from '../../gpu-worker/kernels/query-absorb.ts'
import { openBench, type KernelBench } from '../fixtures/kernel-bench.ts'
import { bits, dotBound, seeded, worstError } from '../fixtures/numbers.ts'
import { rounded } from '../fixtures/stored-values.ts'

let bench: KernelBench
beforeAll(async () => {
  bench = await openBench()
})
afterEach(() => bench.clear())
afterAll(() => bench.close())

const shapes = [
  { headCount: 4, nope: 32, rope: 16, latent: 32, value: 32 },
  { headCount: 3, nope: 24, rope: 8, latent: 40, value: 40 },
  { headCount: 2, nope: 257, rope: 2, latent: 33, value: 3 },
]

describe.each(shapes)('nope $nope, rope $rope, latent $latent', (shape) => {
  it.each([true, false])('is within the rounding of the order contract (interleaved: %s)', async (isInterleaved) => {
    const { headCount, nope, rope, latent, value } = shape
    const { ropeStart, entry } = entryLayout(shape)
    const rows = 2
    const width = headCount * (nope + rope)
    const dense = seeded(rows * width, 1)
    const w = rounded(seeded(headCount * (nope + value) * latent, 2), 'bf16')
    const angles = Array.from(
      { length: rows * (rope / 2) },
      (_, i) => [Math.fround(Math.cos(i)), Math.fround(Math.sin(i))] as const,
    )
    const q = { activation: bench.activation(dense, width), offset: 0, width }
    const turns = bench.slice(Float32Array.from(angles.flat()))
    const results = []
    for (const windowRows of [Infinity, nope + value]) {
      const queries = bench.slice(new Float32Array(rows * headCount * entry).fill(NaN))
      const kvB = bench.matrix(w, latent, 'bf16', windowRows)
      await bench.run(queryAbsorb({ rope: turns, q, kvB, queries }, shape, isInterleaved, rows), rows)
      results.push(await bench.readF32(queries, rows * headCount * entry))
    }
    const [got, split] = results
    expect(bits(split ?? new Float32Array())).toEqual(bits(got ?? new Float32Array()))
    for (let at = 0; at < rows * headCount; at++) {
      const own = dense.subarray(at * (nope + rope), (at + 1) * (nope + rope))
      const head = at % headCount
      const wk = w.subarray(head * (nope + value) * latent, (head * (nope + value) + nope) * latent)
      const row = Math.floor(at / headCount)
      const angle = angles.slice((row * rope) / 2, ((row + 1) * rope) / 2)
      const part = own.subarray(nope)
      const wanted = queryAbsorbReference(own.subarray(0, nope), wk, latent, part, angle, isInterleaved)
      const size = queryAbsorbReference(
        own.subarray(0, nope).map(Math.abs),
        wk.map(Math.abs),
        latent,
        part,
        angle,
        isInterleaved,
      )
      const result = got?.subarray(at * entry, (at + 1) * entry) ?? new Float32Array()
      expect(worstError(result.subarray(0, latent), wanted.latent, size.latent)).toBeLessThanOrEqual(dotBound(nope))
      expect(worstError(result.subarray(ropeStart, ropeStart + rope), wanted.rope, 6)).toBeLessThan(2e-7)
      expect([...result.subarray(latent, ropeStart)].every((pad) => pad === 0)).toBe(true)
    }
  })
})

it('refuses a window that cuts a head', () => {
  const shape = { headCount: 2, nope: 4, rope: 2, latent: 8, value: 4 }
  const kvB = bench.matrix(seeded(16 * 8, 1), 8, 'f32', 12)
  const q = { activation: bench.activation(seeded(12, 1), 12), offset: 0, width: 12 }
  const slice = bench.slice(new Float32Array(1024))
  expect(() => queryAbsorb({ rope: slice, q, kvB, queries: slice }, shape, true, 1)).toThrow(/whole heads/)
})
