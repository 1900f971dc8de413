/** A job's request as a worker reads it: nothing out of the GPU's range gets in, whoever wrote the record. */
import { describe, expect, it } from 'vitest'
import { ZodError } from 'zod'
import { decodeJobRequest, encodeJobRequest, nothingSteered } from '../../contract/job.ts'
import { biasedTokensMax, topKMax } from '../../contract/limits.ts'
import { plainRequest } from '../fixtures/job-desk.ts'

const through = (change: object) => decodeJobRequest(JSON.stringify({ ...plainRequest, ...change }))

describe('a job request', () => {
  it('comes back as it was', () => {
    expect(decodeJobRequest(encodeJobRequest(plainRequest))).toEqual(plainRequest)
  })

  it('that knows nothing of penalties, biases and log probabilities asks for none', () => {
    const old = Object.entries(plainRequest).filter(([name]) => !Object.hasOwn(nothingSteered, name))
    expect(decodeJobRequest(JSON.stringify(Object.fromEntries(old)))).toEqual(plainRequest)
  })

  it.each([
    { topK: 0 },
    { topK: topKMax },
    { topP: 1 },
    { topP: 5e-324 },
    { minP: 0 },
    { minP: 1 },
    { temperature: 0 },
    { temperature: 5e-324 },
    { maxTokens: 1 },
    { maxTokens: 2 ** 53 - 1 },
    { frequencyPenalty: -2, presencePenalty: 2 },
    { repetitionPenalty: 0.01 },
    { repetitionPenalty: 100 },
    {
      logitBias: [
        [0, -100],
        [topKMax, 100],
      ],
    },
    { minTokens: 0 },
    { topLogprobs: 0 },
    { topLogprobs: 20 },
  ])('takes %o', (change) => {
    expect(through(change)).toEqual({ ...plainRequest, ...change })
  })

  it.each([
    { topK: -1 },
    { topK: topKMax + 1 },
    { topK: 1.5 },
    { topP: 0 },
    { topP: 1.01 },
    { minP: -0.01 },
    { minP: 1.01 },
    { temperature: -1 },
    { temperature: '1' },
    { maxTokens: 0 },
    { maxTokens: 2 ** 53 },
    { frequencyPenalty: 2.01 },
    { presencePenalty: -2.01 },
    { repetitionPenalty: 0 },
    { repetitionPenalty: 101 },
    { logitBias: [[-1, 0]] },
    { logitBias: [[0.5, 0]] },
    { logitBias: [[topKMax + 1, 0]] },
    { logitBias: [[0, 101]] },
    { logitBias: Array.from({ length: biasedTokensMax + 1 }, (_, tokenId) => [tokenId, 0]) },
    { minTokens: -1 },
    { topLogprobs: 21 },
  ])('refuses %o', (change) => {
    expect(() => through(change)).toThrow(ZodError)
  })
})
