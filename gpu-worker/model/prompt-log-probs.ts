/**
 * Log probabilities of a prompt's own tokens: output passes over the rows of the step just run, a few at a time.
 *
 * The residual stream is still there; the kernels are those that tell of an answer's tokens, given the prompt's next
 * tokens where sampled ones would stand. Wants the step to be the only one under way.
 */
import type { Batch } from '../engine/batch.ts'
import type { StepResult, TokenLogProb } from '../engine/runner.ts'
import type { Gpu } from '../gpu/device.ts'
import type { Readback } from '../gpu/readback.ts'
import type { Recipe } from '../gpu/recipe.ts'
import { logProbsOf } from '../kernels/log-probs.ts'
import type { RowSet } from './model-recipe.ts'
import { pickedMaxOf, type OutputScratch } from './scratch.ts'
import type { RowToTell, StepWriter, WrittenStep } from './step-writer.ts'

export interface PromptTeller {
  readonly gpu: Gpu
  readonly writer: StepWriter
  readonly output: OutputScratch
  readonly recipes: { readonly logits: Recipe<RowSet>; readonly sampler: Recipe<RowSet> }
  /** Holds all of `output.sampled`. */
  readonly readback: Readback
}

/** As `StepResult.promptLogProbs`; nothing when no sequence asks. Where a row's logits are not finite it tells NaN. */
export async function promptLogProbs(
  teller: PromptTeller,
  { sequences }: Batch,
  counts: WrittenStep['counts'],
): Promise<Pick<StepResult, 'promptLogProbs'>> {
  if (sequences.every(({ promptLogprobs }) => promptLogprobs === undefined)) return {}
  const asked: RowToTell[][] = []
  let first = 0
  for (const { tokenIds, promptLogprobs: { nextTokenIds, count } = { nextTokenIds: [], count: 0 } } of sequences) {
    asked.push(nextTokenIds.map((tokenId, i) => ({ row: first + i, tokenId, count })))
    first += tokenIds.length
  }
  const told = await tell(teller, asked.flat(), counts)
  let next = 0
  const taken = asked.map((rows) => told.slice(next, (next += rows.length)))
  return { promptLogProbs: taken.map((rows, i) => (sequences[i]?.promptLogprobs === undefined ? null : rows)) }
}

async function tell(
  { gpu, writer, output, recipes, readback }: PromptTeller,
  rows: readonly RowToTell[],
  counts: WrittenStep['counts'],
): Promise<(readonly TokenLogProb[])[]> {
  const { sampled, logits } = output
  const pickedMax = pickedMaxOf(output)
  const told: (readonly TokenLogProb[])[] = []
  for (let start = 0; start < rows.length; start += pickedMax) {
    const some = rows.slice(start, start + pickedMax)
    writer.tell(some, sampled)
    const encoder = gpu.device.createCommandEncoder({ label: 'prompt-log-probs' })
    const pass = encoder.beginComputePass({ label: 'prompt-log-probs' })
    recipes.logits.encode(pass, { ...counts, picked: some.length })
    recipes.sampler.encode(pass, { ...counts, plain: 0, adjusted: 0, told: some.length })
    pass.end()
    readback.copy(encoder, sampled, sampled.bytes)
    gpu.device.queue.submit([encoder.finish()])
    const words = new Uint32Array((await readback.read(sampled.bytes, 'log probabilities of a prompt')).buffer)
    told.push(...some.map(({ count }, i) => logProbsOf(words, i, pickedMax, Math.min(count, logits.width))))
  }
  return told
}
