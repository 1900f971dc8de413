/**
 * Sampler rows as the GPU reads them: a record each, what they change in their logits, and their masks.
 *
 * Knows the layout of `kernels/step-input.ts`. A row that breaks a limit is our own error.
 */
import { strict as assert } from 'node:assert'
import type { SamplerRow } from '../engine/batch.ts'
import { LOGPROBS_MAX } from '../kernels/log-probs.ts'
import { CHANGE_BYTES, IS_BARRED, IS_SEEN, NONE, SAMPLER_RECORD_BYTES } from '../kernels/step-input.ts'

export interface SamplerLimits {
  readonly vocabSize: number
  readonly sequencesMax: number
  /** Of all rows of a step. */
  readonly changesMax: number
}

/** Penalties and biases stay finite whatever they meet: logits are far below 1e30, counts below 1e9. */
const CHANGE_MAX = 1e4

/** What one token's logit goes through. */
interface Change {
  answerCount: number
  flags: number
  bias: number
}

export class SamplerRecords {
  /** Whether any row changes its logits. */
  isAdjusting = false
  /** Whether any row asks for log probabilities. */
  isTelling = false
  readonly #limits: SamplerLimits
  readonly #maskWords: number
  readonly #records: DataView<ArrayBuffer>
  readonly #changes: DataView<ArrayBuffer>
  readonly #masks: Uint32Array<ArrayBuffer>
  #rowCount = 0
  #changeCount = 0
  #maskCount = 0

  constructor(limits: SamplerLimits) {
    this.#limits = limits
    this.#maskWords = maskWords(limits.vocabSize)
    this.#records = new DataView(new ArrayBuffer(limits.sequencesMax * SAMPLER_RECORD_BYTES))
    this.#changes = new DataView(new ArrayBuffer(limits.changesMax * CHANGE_BYTES))
    this.#masks = new Uint32Array(limits.sequencesMax * this.#maskWords)
  }

  get records(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#records.buffer, 0, this.#rowCount * SAMPLER_RECORD_BYTES)
  }

  get changes(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#changes.buffer, 0, this.#changeCount * CHANGE_BYTES)
  }

  get masks(): Uint32Array<ArrayBuffer> {
    return this.#masks.subarray(0, this.#maskCount * this.#maskWords)
  }

  /** Before each step. */
  clear(): void {
    this.isAdjusting = false
    this.isTelling = false
    this.#rowCount = 0
    this.#changeCount = 0
    this.#maskCount = 0
  }

  add(sampler: SamplerRow): void {
    checkSampler(sampler, this.#limits.vocabSize)
    const firstChange = this.#changeCount
    for (const [token, change] of changesOf(sampler)) this.#addChange(token, change)
    const mask = this.#addMask(sampler)
    const { penalties } = sampler
    const at = this.#rowCount * SAMPLER_RECORD_BYTES
    const f32 = (word: number, value: number): void => this.#records.setFloat32(at + word * 4, value, true)
    const u32 = (word: number, value: number): void => this.#records.setUint32(at + word * 4, value, true)
    f32(0, inverseTemperature(sampler.temperature))
    u32(1, Math.min(sampler.topK, this.#limits.vocabSize))
    f32(2, sampler.topP)
    f32(3, sampler.minP)
    u32(4, sampler.seed[0])
    u32(5, sampler.seed[1])
    u32(6, sampler.index)
    u32(7, sampler.forcedToken ?? NONE)
    u32(8, mask)
    u32(9, firstChange)
    u32(10, this.#changeCount)
    f32(11, penalties?.repetition ?? 1)
    f32(12, penalties?.presence ?? 0)
    f32(13, penalties?.frequency ?? 0)
    u32(14, sampler.logprobCount === undefined ? 0 : 1 + sampler.logprobCount)
    u32(15, 0)
    this.isTelling ||= sampler.logprobCount !== undefined
    this.isAdjusting ||= mask !== NONE || this.#changeCount > firstChange
    this.#rowCount += 1
  }

  #addChange(token: number, { answerCount, flags, bias }: Change): void {
    const { changesMax } = this.#limits
    assert(this.#changeCount < changesMax, `The sampler rows of a step change at most ${changesMax} logits`)
    const at = this.#changeCount * CHANGE_BYTES
    this.#changes.setUint32(at, token, true)
    this.#changes.setUint32(at + 4, answerCount, true)
    this.#changes.setUint32(at + 8, flags, true)
    this.#changes.setFloat32(at + 12, bias, true)
    this.#changeCount += 1
  }

  /** Returns the mask's first word. */
  #addMask({ allowed }: SamplerRow): number {
    if (allowed === undefined) return NONE
    const first = this.#maskCount * this.#maskWords
    this.#masks.set(allowed, first)
    this.#maskCount += 1
    return first
  }
}

/** Words of a mask: a bit a token. */
export function maskWords(vocabSize: number): number {
  return Math.ceil(vocabSize / 32)
}

/** One entry a token, whatever it is in for: lanes change them at once. */
function changesOf({ penalties, logitBias, stopTokenIds = [], minTokens = 0, index }: SamplerRow): Map<number, Change> {
  const changes = new Map<number, Change>()
  const of = (token: number): Change => {
    const change = changes.get(token) ?? { answerCount: 0, flags: 0, bias: 0 }
    changes.set(token, change)
    return change
  }
  if (penalties !== undefined) {
    for (const token of penalties.promptTokens) of(token).flags |= IS_SEEN
    for (const [token, count] of penalties.answerCounts) {
      const change = of(token)
      change.flags |= IS_SEEN
      change.answerCount = count
    }
  }
  for (const [token, bias] of logitBias ?? []) of(token).bias = bias
  if (index < minTokens) for (const token of stopTokenIds) of(token).flags |= IS_BARRED
  return changes
}

function checkSampler(sampler: SamplerRow, vocabSize: number): void {
  const { temperature, topK, topP, minP, seed, index, forcedToken = 0, penalties, logitBias, allowed } = sampler
  // Above 1, min p would keep no token at all.
  const areFractions = topP >= 0 && minP >= 0 && minP <= 1
  const areCounts = [topK, ...seed, index, sampler.minTokens ?? 0].every(isU32)
  const { repetition, presence, frequency } = penalties ?? { repetition: 1, presence: 0, frequency: 0 }
  const numbers = [presence, frequency, ...(logitBias?.values() ?? [])]
  const isRatio = repetition >= 1 / CHANGE_MAX && repetition <= CHANGE_MAX
  const arePenalties = isRatio && numbers.every((value) => Math.abs(value) <= CHANGE_MAX)
  const { logprobCount = 0 } = sampler
  const isTold = isU32(logprobCount) && logprobCount <= LOGPROBS_MAX
  const isRow = isTold && temperature >= 0 && temperature < Infinity && areFractions && areCounts && arePenalties
  assert(isRow, 'A sampler field is out of range')
  const tokens = [
    forcedToken,
    ...(penalties?.promptTokens ?? []),
    ...(penalties?.answerCounts.keys() ?? []),
    ...(logitBias?.keys() ?? []),
    ...(sampler.stopTokenIds ?? []),
  ]
  assert(
    tokens.every((token) => isU32(token) && token < vocabSize),
    'A sampler field names no token',
  )
  assert(allowed === undefined || allowed.length === maskWords(vocabSize), 'A mask has a bit for every token')
}

function isU32(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value < 2 ** 32
}

/** Beyond this any difference of logits is infinite anyway, and 0 times it is still 0. */
const INVERSE_TEMPERATURE_MAX = 1e30
/** The smallest normal f32: a shader may take anything below for 0, which says greedy. */
const INVERSE_TEMPERATURE_MIN = 2 ** -126

/** What a sampler record holds; 0 says greedy and comes of temperature 0 alone. */
export function inverseTemperature(temperature: number): number {
  if (temperature === 0) return 0
  return Math.max(INVERSE_TEMPERATURE_MIN, Math.min(1 / temperature, INVERSE_TEMPERATURE_MAX))
}
