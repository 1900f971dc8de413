/**
 * The sampler row through a whole step: forced tokens, penalties, biases, masks, least tokens, log probabilities;
 * neighbours keep theirs.
 */
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { Batch, BlockId, SamplerRow, SequenceRows } from '../../gpu-worker/engine/batch.ts'
import type { StepResult } from '../../gpu-worker/engine/runner.ts'
import { adjustLogitsReference } from '../../gpu-worker/kernels/adjust-logits.ref.ts'
import { logProbsReference } from '../../gpu-worker/kernels/log-probs.ref.ts'
import { loadRunner, type LoadedRunner } from '../../gpu-worker/model/load-runner.ts'
import { maskWords } from '../../gpu-worker/model/sampler-records.ts'

let loaded: LoadedRunner
beforeAll(async () => {
  const checkpoint = join(import.meta.dirname, '../../models/axk1-tiny')
  loaded = await loadRunner({ checkpoint, sequencesMax: 4, rowsMax: 16, blockCount: 8 })
})
afterAll(() => loaded.runner.close())

const greedy: SamplerRow = { temperature: 0, topK: 0, topP: 1, minP: 0, seed: [1, 2], index: 0 }
const random: SamplerRow = { ...greedy, temperature: 1.5, index: 3 }

function rows(first: number, sampler: SamplerRow): SequenceRows {
  return { tokenIds: [first, first + 7, first + 100], start: 0, blocks: [(first % 8) as BlockId], sampler }
}

/** Sampled tokens, and the logits of each sequence's last row. */
async function step(
  sequences: SequenceRows[],
): Promise<{ tokens: (number | null)[]; logits: Float32Array[]; sampled: StepResult['sampled'] }> {
  const { sampled, logits } = await loaded.runner.run({ sequences, capture: { logits: 'all', experts: false } })
  const vocab = loaded.config.vocabSize
  const last = (i: number): number => sequences.slice(0, i + 1).reduce((sum, { tokenIds }) => sum + tokenIds.length, 0)
  return {
    sampled,
    tokens: sampled.map((one) => (one?.kind === 'token' ? one.tokenId : null)),
    logits: sequences.map((_, i) => (logits ?? new Float32Array()).slice((last(i) - 1) * vocab, last(i) * vocab)),
  }
}

it('each field decides the token of its own sequence and no other’s', async () => {
  const plain = await step([rows(1, greedy), rows(2, random), rows(3, greedy)])
  const [first, , third] = plain.tokens
  const vocab = loaded.config.vocabSize
  const allowed = new Uint32Array(maskWords(vocab)).fill(0x0000ff00)
  const seen = { promptTokens: new Set([third ?? 0]), answerCounts: new Map([[third ?? 0, 2]]) }
  const fields: Partial<SamplerRow>[] = [
    { forcedToken: 17 },
    { logitBias: new Map([[42, 1000]]) },
    { minTokens: 1, stopTokenIds: [third ?? 0] },
    { penalties: { presence: 50, frequency: 50, repetition: 1.5, ...seen } },
    { allowed },
  ]
  for (const own of fields) {
    const { tokens, logits } = await step([rows(1, greedy), rows(2, random), rows(3, { ...greedy, ...own })])
    expect(tokens.slice(0, 2)).toEqual([first, plain.tokens[1]])
    expect(logits).toEqual(plain.logits)
    const wanted = adjustLogitsReference(logits[2] ?? [], { ...greedy, ...own })
    expect(tokens[2]).toBe(own.forcedToken ?? wanted.indexOf(Math.max(...wanted)))
    expect(tokens[2]).not.toBe(third)
  }
})

it('a mask that allows nothing fails its sequence alone', async () => {
  const allowed = new Uint32Array(maskWords(loaded.config.vocabSize))
  const plain = await step([rows(1, greedy)])
  const { tokens } = await step([rows(1, greedy), rows(3, { ...random, allowed })])
  expect(tokens).toEqual([plain.tokens[0], null])
})

it('log probabilities are told to who asks, under the logits as they are', async () => {
  const asking = { ...greedy, forcedToken: 9, logprobCount: 3, logitBias: new Map([[5, 100]]) }
  const plain = await step([rows(1, greedy), rows(2, random)])
  const { sampled, tokens, logits } = await step([rows(1, greedy), rows(3, asking), rows(2, random)])
  expect([tokens[0], tokens[2]]).toEqual(plain.tokens)
  const [first, told, last] = sampled.map((one) => (one?.kind === 'token' ? one.logProbs : undefined))
  expect([first, last]).toEqual([undefined, undefined])
  const { logProbs, ranked } = logProbsReference(logits[1] ?? [])
  expect(told?.map(({ tokenId }) => tokenId)).toEqual([9, ...ranked.slice(0, 3)])
  for (const { tokenId, logProb } of told ?? []) {
    expect(Math.abs(logProb - (logProbs[tokenId] ?? NaN))).toBeLessThan(1e-5)
  }
})

it('prompt tokens are told their log probabilities, more rows than a pass holds, in one go and in chunks', async () => {
  const tokenIds = Array.from({ length: 11 }, (_, i) => (i * 67 + 5) % 900)
  const prompt = { tokenIds, start: 0, blocks: [3 as BlockId] }
  const tell = (start: number, end: number): SequenceRows => ({
    ...prompt,
    tokenIds: tokenIds.slice(start, end),
    start,
    sampler: end === tokenIds.length ? greedy : null,
    promptLogprobs: { count: 2, nextTokenIds: tokenIds.slice(start + 1, end + 1) },
  })
  const sequences = [rows(1, random), tell(0, 11), { ...rows(2, greedy), tokenIds: [9] }]
  const batch: Batch = { sequences, capture: { logits: 'all', experts: false } }
  const { promptLogProbs = [], logits = new Float32Array(), sampled } = await loaded.runner.run(batch)
  expect(promptLogProbs.map((told) => told?.length ?? null)).toEqual([null, 10, null])
  const vocab = loaded.config.vocabSize
  const told = promptLogProbs[1] ?? []
  for (const [i, own] of told.entries()) {
    const { logProbs, ranked } = logProbsReference(logits.slice((3 + i) * vocab, (4 + i) * vocab))
    expect(own.map(({ tokenId }) => tokenId)).toEqual([tokenIds[i + 1], ...ranked.slice(0, 2)])
    for (const { tokenId, logProb } of own) expect(Math.abs(logProb - (logProbs[tokenId] ?? NaN))).toBeLessThan(1e-5)
  }
  const chunks = []
  let lastSampled: (typeof sampled)[number] | undefined
  for (const [start, end] of [
    [0, 1],
    [1, 6],
    [6, 11],
  ] as const) {
    const chunk = await loaded.runner.run({ sequences: [tell(start, end)] })
    chunks.push(...(chunk.promptLogProbs?.[0] ?? []))
    lastSampled = chunk.sampled[0]
  }
  expect(chunks).toEqual(told)
  expect(lastSampled).toEqual(sampled[1])
})
