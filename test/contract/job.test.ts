/** A job's request as a worker reads it: nothing out of the GPU's range gets in, whoever wrote the record. */
import { describe, expect, it } from 'vitest'
import { ZodError } from 'zod'
import { decodeJobRequest, encodeJobRequest } from '../../contract/job.ts'
import { topKMax } from '../../contract/limits.ts'
import { plainRequest } from '../fixtures/job-desk.ts'

const through = (change: object) => decodeJobRequest(JSON.stringify({ ...plainRequest, ...change }))

describe('a job request', () => {
  it('comes back as it was', () => {
    expect(decodeJobRequest(encodeJobRequest(plainRequest))).toEqual(plainRequest)
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
  ])('refuses %o', (change) => {
    expect(() => through(change)).toThrow(ZodError)
  })
})
