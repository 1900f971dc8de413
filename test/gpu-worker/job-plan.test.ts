/** From record to sequence: seeds, defaults, limits of length. */
import { beforeAll, describe, expect, it } from 'vitest'
import { newJobId } from '../../contract/ids.ts'
import type { JobRecord, JobRequest } from '../../contract/job.ts'
import { planJob, seedWords } from '../../gpu-worker/job-plan.ts'
import { loadModelText, type ModelText } from '../../gpu-worker/model/model-text.ts'
import { plainRequest } from '../fixtures/job-desk.ts'

const tokensMax = 100
const emptyLog = { tokenEntries: [], tokenIds: [], promptTokens: 0 }
let text: ModelText
let promptLength: number

beforeAll(async () => {
  text = await loadModelText('models/axk1-tiny', 'axk1-tiny')
  promptLength = text.promptTokens({ messages: plainRequest.messages, think: false }).length
})

function record(request: Partial<JobRequest> = {}): JobRecord {
  return {
    id: newJobId(0, new Uint8Array(16)),
    status: 'running',
    tenantId: 't',
    model: 'axk1-tiny',
    lane: 0,
    tier: 'default',
    claimedAtMs: 0,
    priority: 1,
    seed: 1n,
    epoch: 1,
    entryCount: 0,
    admittedAtMs: 0,
    isCancelled: false,
    request: { ...plainRequest, ...request },
  }
}

function answerTokensMax(maxTokens: number | null, max: number): number {
  return planJob(record({ maxTokens }), emptyLog, text, max).answerTokensMax
}

function joined(seed: bigint): bigint {
  const [low, high] = seedWords(seed)
  return (BigInt(high) << 32n) | BigInt(low)
}

describe('planJob()', () => {
  it('samples as the model likes it where the request says nothing, and as the request says where it does', () => {
    expect(planJob(record(), emptyLog, text, tokensMax).sampling).toMatchObject({
      temperature: 0.6,
      topP: 0.95,
      topK: 0,
      minP: 0,
    })
    const asked = { temperature: 0, topP: 0.5, topK: 3, minP: 0.1 }
    expect(planJob(record(asked), emptyLog, text, tokensMax).sampling).toMatchObject(asked)
  })

  it('penalises, biases and tells only what the request says', () => {
    const plain = planJob(
      record({ frequencyPenalty: 0, repetitionPenalty: 1, minTokens: 0 }),
      emptyLog,
      text,
      tokensMax,
    )
    expect(Object.keys(plain.sampling).sort()).toEqual(['minP', 'seed', 'temperature', 'topK', 'topP'])
    const asked = {
      frequencyPenalty: 0.5,
      presencePenalty: -1,
      repetitionPenalty: 1.25,
      logitBias: [
        [3, -100],
        [text.vocabSize - 1, 7],
      ] as [number, number][],
      minTokens: 4,
      topLogprobs: 0,
    }
    expect(planJob(record(asked), emptyLog, text, tokensMax).sampling).toMatchObject({
      penalties: { presence: -1, frequency: 0.5, repetition: 1.25 },
      logitBias: new Map(asked.logitBias),
      minTokens: 4,
      logprobCount: 0,
    })
  })

  it('bars the end of an answer for no longer than the answer can be', () => {
    const plan = planJob(record({ minTokens: 2 ** 53 - 1, maxTokens: 9 }), emptyLog, text, tokensMax)
    expect(plan.sampling.minTokens).toBe(9)
  })

  it('refuses a bias of what is no token of the model', () => {
    const beyond = record({ logitBias: [[text.vocabSize, 1]] })
    expect(() => planJob(beyond, emptyLog, text, tokensMax)).toThrow(
      `Invalid value for 'logit_bias': expected token ids of this model, 0 to ${text.vocabSize - 1}.`,
    )
  })

  it('answers at most what was asked, what the context leaves, and one token at the least', () => {
    expect(answerTokensMax(5, tokensMax)).toBe(5)
    expect(answerTokensMax(null, tokensMax)).toBe(tokensMax - promptLength)
    expect(answerTokensMax(1_000_000, tokensMax)).toBe(tokensMax - promptLength)
    expect(answerTokensMax(5, promptLength + 1)).toBe(1)
  })

  it('refuses a job of another model, whose answer it may not go on with', () => {
    const other = { ...record(), model: 'another' }
    expect(() => planJob(other, emptyLog, text, tokensMax)).toThrow('not served any more')
  })

  it('refuses a prompt that fills the context, with the numbers', () => {
    expect(() => planJob(record(), emptyLog, text, promptLength)).toThrow(
      `maximum context length is ${promptLength} tokens. However, your messages resulted in ${promptLength} tokens`,
    )
  })
})

describe('seedWords()', () => {
  it('is SplitMix64 of the seed’s low 64 bits (vectors of its reference code, seed 0 then 2⁶⁴/φ on)', () => {
    expect(joined(0n)).toBe(0xe220a8397b1dcdafn)
    expect(joined(0x9e3779b97f4a7c15n)).toBe(0x6e789e6aa1b965f4n)
    expect(joined(-1n)).toBe(joined(2n ** 64n - 1n))
  })

  it('gives words of 32 bits, different for neighbouring and for negative seeds', () => {
    const words = Array.from({ length: 1_000 }, (_, position) => seedWords(BigInt(position - 500)))
    for (const word of words.flat()) expect(word).toBe(word >>> 0)
    expect(new Set(words.map((pair) => pair.join())).size).toBe(1_000)
  })
})
