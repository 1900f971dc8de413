/** A whole forward pass by the kernels for GPUs, by those for CPU adapters and by those for adapters without subgroups: the same bits, whatever the row count. */
import { join } from 'node:path'
import { expect, it } from 'vitest'
import type { DeviceOptions } from '../../gpu-worker/gpu/device.ts'
import { loadRunner } from '../../gpu-worker/model/load-runner.ts'
import { scatteredBlocks } from '../fixtures/golden.ts'

const checkpoint = join(import.meta.dirname, '../goldens/int4-experts')
/** One row, a few, and enough that pairs are grouped by expert: 12 · 4 of 16 experts. */
const stepRows = [12, 1, 3]
/** Software drivers take seconds to compile whole workgroups. */
const COMPILING_MS = 240_000

async function logitBits(kernels: Pick<DeviceOptions, 'processor' | 'subgroups'>): Promise<number[]> {
  const { runner, config } = await loadRunner({
    checkpoint,
    sequencesMax: 1,
    rowsMax: 16,
    ...kernels,
    deadlineMs: COMPILING_MS,
  })
  try {
    const bits: number[] = []
    let start = 0
    for (const count of stepRows) {
      const tokenIds = Array.from({ length: count }, (_, i) => ((start + i) * 7) % config.vocabSize)
      const blocks = scatteredBlocks(start + count, 0, runner.limits.blockCount)
      const sequences = [{ tokenIds, start, blocks, sampler: null }]
      const { logits } = await runner.run({ sequences, capture: { logits: 'all', experts: false } })
      bits.push(...new Uint32Array(Float32Array.from(logits ?? []).buffer))
      start += count
    }
    return bits
  } finally {
    await runner.close()
  }
}

it('every kind of kernels gives the same logits, bit for bit', { timeout: COMPILING_MS }, async () => {
  const expected = await logitBits({ processor: 'cpu' })
  expect(expected.length).toBe(16 * 512)
  expect(await logitBits({ processor: 'cpu', subgroups: false })).toEqual(expected)
  expect(await logitBits({ processor: 'gpu' })).toEqual(expected)
  expect(await logitBits({ processor: 'gpu', subgroups: false })).toEqual(expected)
})
