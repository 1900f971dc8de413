/**
 * A Runner against what a reference said: the error of every position's logits, routed experts, greedy answers, and
 * whether any way of cutting a prompt into steps gives the same bits.
 *
 * It measures and judges nothing. NMSE of a position = Σ(got − wanted)² / Σ wanted², over the vocabulary, in f64.
 */
import assert from 'node:assert/strict'
import type { BlockId, SamplerRow } from '../../gpu-worker/engine/batch.ts'
import type { Runner } from '../../gpu-worker/engine/runner.ts'
import type { ModelConfig } from '../../gpu-worker/model/config.ts'
import type { ExpectedOutputs, ExpectedPrompt } from './expected-outputs.ts'

/** The position that is furthest off. NaN counts as infinitely far. */
export interface Worst {
  readonly nmse: number
  readonly position: number
}

export interface PromptErrors {
  readonly key: string
  readonly tokens: number
  /** Null where the reference gave no logits. */
  readonly worst: Worst | null
  readonly meanNmse: number | null
  /** Of the positions before the first that is routed elsewhere: what comes after has read that one's KV. */
  readonly worstRoutedAlike: Worst | null
  /** Positions with other experts in some layer; null where the reference says nothing of it, as is `greedyEqual`. */
  readonly routedElsewhere: number | null
  readonly greedyEqual: boolean | null
  readonly chunkingsEqual: boolean
}

export interface Measured {
  readonly runner: Runner
  readonly config: ModelConfig
}

/** Rows of a step that each prompt is tried with, besides as many as fit. */
export const CHUNKINGS: readonly number[] = [1, 7, 64]

/** One result a prompt, in the file's order. */
export async function measure(
  model: Measured,
  expected: ExpectedOutputs,
  chunkings: readonly number[] = CHUNKINGS,
): Promise<PromptErrors[]> {
  const greedy = await greedyAnswers(model, expected.prompts)
  const results: PromptErrors[] = []
  for (const prompt of expected.prompts) {
    const { tokenIds } = prompt
    const whole = await forward(model, tokenIds, model.runner.limits.rowsMax)
    let chunkingsEqual = true
    for (const rows of prompt.hasLogits ? chunkings.filter((count) => count < tokenIds.length) : []) {
      chunkingsEqual &&= sameBits((await forward(model, tokenIds, rows)).logits, whole.logits)
    }
    const errors = prompt.hasLogits ? nmseOf(whole.logits, await expected.logits(prompt), tokenIds.length) : null
    const elsewhere = await positionsRoutedElsewhere(model, expected, prompt, whole.experts)
    results.push({
      key: prompt.key,
      tokens: tokenIds.length,
      worst: errors && worstOf(errors),
      meanNmse: errors && errors.reduce((sum, nmse) => sum + nmse, 0) / errors.length,
      worstRoutedAlike: errors && worstOf(errors.slice(0, Math.min(...elsewhere, errors.length))),
      routedElsewhere: prompt.expertLayers.length === 0 ? null : elsewhere.size,
      greedyEqual: prompt.greedy && prompt.greedy.join() === greedy.get(prompt.key)?.join(),
      chunkingsEqual,
    })
  }
  return results
}

interface Outputs {
  /** f32 [T, vocab] */
  readonly logits: Float32Array
  /** One a layer with experts: i32 [T, topK], ascending. */
  readonly experts: readonly Int32Array[]
}

/** One sequence, from position 0, `chunkRows` tokens a step. */
async function forward({ runner, config }: Measured, tokenIds: readonly number[], chunkRows: number): Promise<Outputs> {
  const { rowsMax, vocabSize } = runner.limits
  const topK = config.expertsPerToken
  const logits = new Float32Array(tokenIds.length * vocabSize)
  const experts = Array.from(
    { length: config.layerCount - config.denseLayerCount },
    () => new Int32Array(tokenIds.length * topK),
  )
  const blocks = blocksFor(runner, tokenIds.length, 0)
  for (let start = 0; start < tokenIds.length; start += Math.min(chunkRows, rowsMax)) {
    const rows = tokenIds.slice(start, start + Math.min(chunkRows, rowsMax))
    const step = await runner.run({
      sequences: [{ tokenIds: rows, start, blocks, sampler: null }],
      capture: { logits: 'all', experts: experts.length > 0 },
    })
    assert(step.logits !== undefined, 'a Runner gives the logits it was asked for')
    logits.set(step.logits, start * vocabSize)
    for (const [layer, target] of experts.entries()) {
      for (let row = 0; row < rows.length; row++) {
        const from = (layer * rows.length + row) * topK
        target.set(step.experts?.slice(from, from + topK).sort() ?? [], (start + row) * topK)
      }
    }
  }
  return { logits, experts }
}

/** The errors of `positions` positions; Infinity where one is not a number. */
function nmseOf(got: Float32Array, wanted: Float32Array, positions: number): number[] {
  const width = got.length / positions
  if (wanted.length !== got.length) return Array<number>(positions).fill(Infinity)
  return Array.from({ length: positions }, (_, position) => {
    let error = 0
    let size = 0
    for (let i = position * width; i < (position + 1) * width; i++) {
      error += ((got[i] ?? NaN) - (wanted[i] ?? NaN)) ** 2
      size += (wanted[i] ?? NaN) ** 2
    }
    const nmse = error / size
    return Number.isNaN(nmse) ? Infinity : nmse
  })
}

function worstOf(errors: readonly number[]): Worst | null {
  const nmse = Math.max(...errors)
  return errors.length === 0 ? null : { nmse, position: errors.indexOf(nmse) }
}

/** Positions whose experts differ from the reference's in some layer. */
async function positionsRoutedElsewhere(
  { config }: Measured,
  expected: ExpectedOutputs,
  prompt: ExpectedPrompt,
  got: readonly Int32Array[],
): Promise<ReadonlySet<number>> {
  const positions = new Set<number>()
  for (const layer of prompt.expertLayers) {
    const wanted = await expected.experts(prompt, layer)
    const layerGot = got[layer - config.denseLayerCount]
    for (let i = 0; i < wanted.length; i++) {
      if (layerGot?.[i] !== wanted[i]) positions.add(Math.floor(i / config.expertsPerToken))
    }
  }
  return positions
}

const greedySampler: Omit<SamplerRow, 'index'> = { temperature: 0, topK: 0, topP: 1, minP: 0, seed: [0, 0] }

interface Life {
  readonly key: string
  readonly wantedTokens: number
  readonly blocks: readonly BlockId[]
  readonly answer: number[]
  start: number
  tokenIds: readonly number[]
}

/** As many tokens as the reference gave, by key: prompts answered together, as many as the pool holds. */
async function greedyAnswers(
  { runner }: Measured,
  prompts: readonly ExpectedPrompt[],
): Promise<ReadonlyMap<string, readonly number[]>> {
  const answers = new Map<string, readonly number[]>()
  let lives: Life[] = []
  let blocksUsed = 0
  const finish = async (): Promise<void> => {
    for (const life of lives) await prefill(runner, life)
    for (;;) {
      const open = lives.filter(({ answer, wantedTokens }) => answer.length < wantedTokens)
      if (open.length === 0) break
      await advance(runner, open)
    }
    lives = []
    blocksUsed = 0
  }
  for (const { key, tokenIds, promptTokens, greedy } of prompts) {
    if (greedy === null || greedy.length === 0) continue
    const blockCount = Math.ceil((promptTokens + greedy.length) / runner.limits.blockTokens)
    const isFull = blocksUsed + blockCount > runner.limits.blockCount || lives.length === runner.limits.sequencesMax
    if (isFull) await finish()
    const blocks = blocksFor(runner, promptTokens + greedy.length, blocksUsed)
    blocksUsed += blockCount
    const answer: number[] = []
    answers.set(key, answer)
    lives.push({
      key,
      wantedTokens: greedy.length,
      blocks,
      answer,
      start: 0,
      tokenIds: tokenIds.slice(0, promptTokens),
    })
  }
  await finish()
  return answers
}

/** Leaves the last rows to `advance`, which samples. */
async function prefill(runner: Runner, life: Life): Promise<void> {
  const { rowsMax } = runner.limits
  while (life.tokenIds.length > 1) {
    const tokenIds = life.tokenIds.slice(0, Math.min(rowsMax, life.tokenIds.length - 1))
    await runner.run({ sequences: [{ tokenIds, start: life.start, blocks: life.blocks, sampler: null }] })
    life.start += tokenIds.length
    life.tokenIds = life.tokenIds.slice(tokenIds.length)
  }
}

async function advance(runner: Runner, lives: readonly Life[]): Promise<void> {
  const sequences = lives.map(({ tokenIds, start, blocks, answer }) => {
    return { tokenIds, start, blocks, sampler: { ...greedySampler, index: answer.length } }
  })
  const { sampled } = await runner.run({ sequences })
  for (const [i, life] of lives.entries()) {
    const one = sampled[i]
    // No token of any vocabulary: the answer differs from every expected one.
    const tokenId = one?.kind === 'token' ? one.tokenId : -1
    life.answer.push(tokenId)
    life.start += life.tokenIds.length
    life.tokenIds = [Math.max(tokenId, 0)]
  }
}

/** Blocks of `tokens` tokens in descending order, so that neighbours in a sequence are none in the pool. */
function blocksFor(runner: Runner, tokens: number, first: number): BlockId[] {
  const { blockTokens, blockCount, contextTokensMax } = runner.limits
  const count = Math.ceil(tokens / blockTokens)
  if (tokens > contextTokensMax || first + count > blockCount) {
    throw new RangeError(
      `Cannot hold ${tokens} tokens: the context has ${contextTokensMax}, ${blockCount} blocks are there`,
    )
  }
  // Ids 0 … blockCount − 1 are blocks of the pool.
  return Array.from({ length: count }, (_, i) => (first + count - 1 - i) as BlockId)
}

function sameBits(a: Float32Array, b: Float32Array): boolean {
  return Buffer.compare(bytesOf(a), bytesOf(b)) === 0
}

function bytesOf(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
}
