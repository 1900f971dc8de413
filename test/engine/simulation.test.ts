/** Thousands of seeded lives of the engine; the seed of a broken one is in the failure's message. */
import { describe, expect, it } from 'vitest'
import type { Batch, SamplerRow, SequenceRows } from '../../gpu-worker/engine/batch.ts'
import type { Runner } from '../../gpu-worker/engine/runner.ts'
import { breakages, brokenEngine } from './broken-engine.ts'
import { simulate, type SimulationOptions } from './simulation.ts'
import { emptyCounts } from './simulation-counts.ts'

const lifeCount = 4_000
const controlCount = 100

describe('Engine over thousands of seeded lives', () => {
  it(
    'I13, I14, I15: every sequence ends once, in its turn, with the tokens and contexts it has alone',
    { timeout: 60_000 },
    async () => {
      const counts = emptyCounts()
      for (let seed = 0; seed < lifeCount; seed += 1) expect(await failureOf(seed, {}, counts)).toBeNull()
      const { ends, ...others } = counts
      for (const [what, count] of Object.entries({ ...others, ...ends }))
        expect(count, `${what} in ${lifeCount} lives`).toBeGreaterThan(lifeCount / controlCount)
    },
  )

  it('a seed tells the same life every time', async () => {
    const [once, again] = [emptyCounts(), emptyCounts()]
    await simulate(17, once)
    await simulate(17, again)
    expect(again).toEqual(once)
  })

  it.each(Object.entries(breakages))('negative control: notices an engine that %s', async (_, breakage) => {
    const engine = await brokenEngine(breakage)
    let failure: string | null = null
    for (let seed = 0; seed < lifeCount && failure === null; seed += 1) failure = await failureOf(seed, { engine })
    expect(failure).not.toBeNull()
  })

  const distortions: readonly (readonly [string, (batch: Batch) => Batch])[] = [
    [
      'two block tables swapped',
      (batch) => withBlocks(batch, (at) => batch.sequences[batch.sequences.length - 1 - at]),
    ],
    ['a sampling index one too high', (batch) => withSampler(batch, (row) => ({ ...row, index: row.index + 1 }))],
    [
      'a seed that changes with the batch',
      (batch) => withSampler(batch, (row) => ({ ...row, seed: [batch.sequences.length, row.seed[1]] })),
    ],
    ['the first row of a chunk lost', (batch) => ({ sequences: batch.sequences.map(withoutFirstRow) })],
  ]
  it.each(distortions)('negative control: notices %s', async (_, broken) => {
    const wrap = (runner: Runner): Runner => ({
      limits: runner.limits,
      fingerprint: runner.fingerprint,
      run: (batch) => runner.run(broken(batch)),
      close: () => runner.close(),
    })
    const failures = []
    for (let seed = 0; seed < controlCount; seed += 1) failures.push(await failureOf(seed, { wrap }))
    expect(failures.filter((failure) => failure !== null).length).toBeGreaterThan(controlCount / 4)
  })
})

async function failureOf(seed: number, options: SimulationOptions, counts = emptyCounts()): Promise<string | null> {
  try {
    await simulate(seed, counts, options)
    return null
  } catch (error) {
    return `seed ${seed}: ${error instanceof Error ? `${error.message}: ${String(error.cause)}` : String(error)}`
  }
}

function withBlocks(batch: Batch, from: (at: number) => SequenceRows | undefined): Batch {
  return { sequences: batch.sequences.map((rows, at) => ({ ...rows, blocks: from(at)?.blocks ?? rows.blocks })) }
}

function withSampler(batch: Batch, change: (row: SamplerRow) => SamplerRow): Batch {
  return { sequences: batch.sequences.map((rows) => ({ ...rows, sampler: rows.sampler && change(rows.sampler) })) }
}

function withoutFirstRow(rows: SequenceRows): SequenceRows {
  return rows.tokenIds.length > 1 ? { ...rows, tokenIds: rows.tokenIds.slice(1), start: rows.start + 1 } : rows
}
