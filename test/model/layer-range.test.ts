/**
 * A model cut into stages computes what the whole model computes, bit for bit: logits, tokens, experts.
 *
 * And what a stage must not be asked is refused. Every stage here has a device of its own.
 */
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Batch, BlockId, SamplerRow, SequenceRows } from '../../gpu-worker/engine/batch.ts'
import type { Runner, StepResult } from '../../gpu-worker/engine/runner.ts'
import { loadRunner, type LoadOptions } from '../../gpu-worker/model/load-runner.ts'
import { bits } from '../fixtures/numbers.ts'
import { loadStaged, type StagedRunner } from '../fixtures/staged-runner.ts'
import { runnerConformance } from '../runner-conformance.ts'

const root = join(import.meta.dirname, '../..')
const tiny: LoadOptions = { checkpoint: join(root, 'models/axk1-tiny'), sequencesMax: 4, rowsMax: 64, blockCount: 16 }
const TINY_LAYERS = 6

runnerConformance('axk1-tiny in stages of two and four layers', () =>
  loadStaged({ ...tiny, rowsMax: 48 }, [2], TINY_LAYERS),
)

const sampled: SamplerRow = { temperature: 1, topK: 0, topP: 1, minP: 0, seed: [5, 9], index: 0 }

function rows(start: number, count: number, first: number, sampler: SamplerRow | null): SequenceRows {
  const blocks = [0, 1, 2].map((i) => ((first * 3 + i) % 16) as BlockId)
  return {
    tokenIds: Array.from({ length: count }, (_, i) => ((start + i) * 37 + first * 11) % 300),
    start,
    blocks,
    sampler,
  }
}

/** Prefill whole, prefill in chunks, chunks beside decodes, decodes. */
const steps: readonly (readonly SequenceRows[])[] = [
  [rows(0, 40, 0, sampled)],
  [rows(0, 17, 1, null)],
  [rows(40, 1, 0, { ...sampled, index: 1 }), rows(17, 20, 1, sampled), rows(0, 3, 2, { ...sampled, temperature: 0 })],
  [rows(41, 1, 0, { ...sampled, index: 2 }), rows(37, 1, 1, { ...sampled, index: 1 }), rows(3, 33, 2, null)],
]

async function resultsOf(runner: Runner): Promise<unknown[]> {
  const results: unknown[] = []
  for (const sequences of steps)
    results.push(comparable(await runner.run({ sequences, capture: { logits: 'all', experts: true } })))
  return results
}

function comparable({ sampled: tokens, logits, experts }: StepResult): unknown {
  return { tokens, logits: bits(logits ?? new Float32Array()), experts: experts ?? null }
}

describe('axk1-tiny', { timeout: 60_000 }, () => {
  let whole: unknown[]
  beforeAll(async () => {
    const { runner } = await loadRunner(tiny)
    whole = await resultsOf(runner)
    await runner.close()
  })

  it.each([[[1]], [[2]], [[3]], [[4]], [[5]], [[2, 4]], [[1, 2, 3, 4, 5]]])(
    'cut before %j gives the same bits',
    async (cuts) => {
      const staged = await loadStaged(tiny, cuts, TINY_LAYERS)
      expect(await resultsOf(staged)).toEqual(whole)
      await staged.close()
    },
  )
})

describe.each(['exact', 'kv16'] as const)('in profile %s', { timeout: 60_000 }, (profile) => {
  // Padding in every width, a hidden size of 76 with zero points, a head tied to another stage's embedding, blocks of fp8.
  it.each(['odd-shapes-f16', 'int4-zero-points', 'dense-tied', 'fp8-blocks'])(
    '%s cut after its first layer gives the same bits',
    async (name) => {
      const options: LoadOptions = { ...tiny, checkpoint: join(root, 'test/goldens', name), profile }
      const { runner, config } = await loadRunner(options)
      const staged = await loadStaged(options, [1], config.layerCount)
      expect(await resultsOf(staged)).toEqual(await resultsOf(runner))
      await runner.close()
      await staged.close()
    },
  )
})

describe('a stage', () => {
  let staged: StagedRunner
  beforeAll(async () => {
    staged = await loadStaged(tiny, [2], TINY_LAYERS)
  })
  afterAll(() => staged.close())
  const batch: Batch = { sequences: [rows(0, 3, 0, sampled)] }

  it('that begins with the model takes no residual stream, a later one needs it in full', async () => {
    const [first, last] = staged.stages
    const hidden = new Float32Array(3 * 128)
    await expect(first?.run(batch, hidden)).rejects.toThrow(/takes no residual stream/)
    await expect(last?.run(batch)).rejects.toThrow(/takes a residual stream/)
    for (const length of [0, 3 * 128 - 1, 3 * 128 + 1, 4 * 128]) {
      await expect(last?.run(batch, new Float32Array(length))).rejects.toThrow(`3 × 128 values, got ${length}`)
    }
    expect((await last?.run(batch, hidden))?.sampled).toHaveLength(1)
  })

  it('that ends before the model samples nothing and has no logits', async () => {
    const result = await staged.stages[0]?.run({ ...batch, capture: { logits: 'all', experts: false } })
    expect(result?.sampled).toEqual([null])
    expect(result?.logits).toBeUndefined()
    expect(result?.hidden).toHaveLength(3 * 128)
  })

  it('has a fingerprint of its own', () => {
    expect(new Set(staged.stages.map(({ fingerprint }) => fingerprint)).size).toBe(2)
  })
})

it.each([
  { start: 0, end: 0 },
  { start: -1, end: 2 },
  { start: 3, end: 2 },
  { start: 0, end: 7 },
  { start: 0.5, end: 2 },
  { start: NaN, end: 2 },
])('layers $start to $end are refused', async (layers) => {
  await expect(loadRunner({ ...tiny, layers })).rejects.toThrow(/the model has 0 … 5/)
})
