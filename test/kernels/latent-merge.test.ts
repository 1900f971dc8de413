/** latent-merge: each merge of its own slots alone, into its own row, against f64. */
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { layOutAttentionWork } from '../../gpu-worker/kernels/attention-plan.ts'
import { latentMergeReference } from '../../gpu-worker/kernels/latent-merge.ref.ts'
import { latentMerge, partBytes } from '../../gpu-worker/kernels/latent-merge.ts'
import { openBench, type KernelBench } from '../fixtures/kernel-bench.ts'
import { seeded, worstError } from '../fixtures/numbers.ts'

let bench: KernelBench
beforeAll(async () => {
  bench = await openBench()
})
afterEach(() => bench.clear())
afterAll(() => bench.close())

it.each([
  { headCount: 1, latent: 4 },
  { headCount: 3, latent: 33 },
  { headCount: 2, latent: 128 },
])('merges 1, 2 and 7 splits of $headCount heads, latent $latent', async ({ headCount, latent }) => {
  const shape = { headCount, nope: 0, rope: 8, latent, value: 0 }
  const width = Math.ceil(latent / 4) * 4
  const [slotCount, rowsMax, round] = [12, 5, 2] as const
  const memory = {
    bindingBytesMax: Infinity,
    storage: (_: string, bytes: number) => bench.slice(new Float32Array(bytes / 4).fill(NaN)),
  }
  const work = layOutAttentionWork(memory, { slotCount, rowsMax, hasStages: false })
  const merges = [
    { row: 3, first: 2, count: 1 },
    { row: 0, first: 3, count: 2 },
    { row: 4, first: 5, count: 7 },
  ]
  const values = Uint32Array.from(merges.flatMap(({ row, first, count }) => [row, first, count, 0]))
  bench.write(work.merges, values, round * slotCount * 16)
  // One split far above the others, one far below: their weights overflow unless taken relative to the highest.
  const split = (slot: number, head: number) => ({
    out: seeded(width, slot * 10 + head, 5),
    sum: 1 + slot,
    max: (slot === 7 ? 60 : slot === 9 ? -90 : 0) + head + slot / 3,
  })
  const parts = new Float32Array(partBytes(shape) * slotCount).fill(NaN)
  for (const slot of Array.from({ length: 10 }, (_, i) => i + 2)) {
    for (let head = 0; head < headCount; head++) {
      const { out, sum, max } = split(slot, head)
      parts.set([...out, sum, max], (slot * headCount + head) * (width + 4))
    }
  }
  const mixed = memory.storage('mixed', rowsMax * headCount * width * 4)
  await bench.run([latentMerge({ work, parts: bench.slice(parts), mixed }, shape, round)], merges.length)
  const got = await bench.readF32(mixed, rowsMax * headCount * width)
  for (const { row, first, count } of merges) {
    for (let head = 0; head < headCount; head++) {
      const wanted = latentMergeReference(Array.from({ length: count }, (_, i) => split(first + i, head)))
      const at = (row * headCount + head) * width
      // Each split's weight is off by a few 1e-7, each sum by as much.
      expect(worstError(got.subarray(at, at + width), wanted, 5)).toBeLessThan(3e-6)
    }
  }
  expect(got.subarray(headCount * width, 3 * headCount * width).every(Number.isNaN), 'other rows stay').toBe(true)
})
