/** A Runner driven two steps deep, without an engine: what the conformance suite asks of Runners that overlap steps. */
import assert from 'node:assert/strict'
import type { BlockId, SamplerRow, SequenceRows } from '../gpu-worker/engine/batch.ts'
import type { Runner, StepResult } from '../gpu-worker/engine/runner.ts'

interface OverlappedTrial {
  readonly promptTokenIds: readonly number[]
  readonly blocks: readonly BlockId[]
  readonly sampling: Omit<SamplerRow, 'index'>
}

export async function refusesOverlap(victim: Runner, rows: SequenceRows): Promise<void> {
  const both = [0, 1].map(async () => victim.run({ sequences: [rows] }))
  const statuses = (await Promise.allSettled(both)).map(({ status }) => status)
  assert(statuses.includes('rejected'), 'A Runner that runs one step at a time took two')
  await victim.close()
}

/**
 * The answers of prompts that fit a step, each step given before the one before it has ended. The order of the sequences
 * turns with every step, so that none is fed from its own position.
 */
export async function overlappedTokens(
  runner: Runner,
  trials: readonly OverlappedTrial[],
  answerCount: number,
): Promise<number[][]> {
  const results: { readonly order: readonly number[]; readonly sampled: Promise<StepResult> }[] = []
  for (let index = 0; index < answerCount; index += 1) {
    const order = trials.map((_, number) => (number + index) % trials.length)
    const before = results.at(-1)?.order
    const sequences = order.map((number): SequenceRows => {
      const trial = trials[number]
      assert(trial !== undefined)
      const { promptTokenIds, blocks, sampling } = trial
      const sampler = { ...sampling, index }
      if (before === undefined) return { tokenIds: promptTokenIds, start: 0, blocks, sampler }
      const start = promptTokenIds.length + index - 1
      return { tokenIds: [0], start, blocks, sampler, fedFrom: before.indexOf(number) }
    })
    // At most two in flight.
    await results.at(-2)?.sampled
    results.push({ order, sampled: runner.run({ sequences }) })
  }
  const tokens: number[][] = trials.map(() => [])
  for (const { order, sampled } of results) {
    for (const [position, sample] of (await sampled).sampled.entries()) {
      assert(sample?.kind === 'token', 'A sampler gave no token')
      tokens[order[position] ?? 0]?.push(sample.tokenId)
    }
  }
  return tokens
}
