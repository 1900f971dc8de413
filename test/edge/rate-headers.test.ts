/** What is left of a tenant's limits, as OpenAI's clients read it. */
import { describe, expect, it } from 'vitest'
import { AppError } from '../../contract/errors.ts'
import { createApp } from '../../edge/app.ts'
import type { Env } from '../../edge/env.ts'
import { goDuration, setRateHeaders } from '../../edge/rate-headers.ts'

describe('goDuration()', () => {
  it.each([
    [0, '0s'],
    [120, '120ms'],
    [999, '999ms'],
    [1_000, '1s'],
    [2_600, '2.6s'],
    [59_999, '59.999s'],
    [60_000, '1m0s'],
    [360_000, '6m0s'],
    [3_600_000, '1h0m0s'],
    [3_723_500, '1h2m3.5s'],
  ])('%d ms is %s', (durationMs, text) => {
    expect(goDuration(durationMs)).toBe(text)
  })
})

describe('setRateHeaders()', () => {
  it('sets the six headers OpenAI’s clients know', () => {
    const headers = new Headers()
    setRateHeaders(headers, {
      limitRequests: 60,
      remainingRequests: 59,
      resetRequestsMs: 1_000,
      limitTokens: 150_000,
      remainingTokens: 149_984,
      resetTokensMs: 360_000,
    })
    expect(Object.fromEntries(headers)).toEqual({
      'x-ratelimit-limit-requests': '60',
      'x-ratelimit-remaining-requests': '59',
      'x-ratelimit-reset-requests': '1s',
      'x-ratelimit-limit-tokens': '150000',
      'x-ratelimit-remaining-tokens': '149984',
      'x-ratelimit-reset-tokens': '6m0s',
    })
  })
})

describe('Retry-After', () => {
  const env = {
    REDIS_URL: 'redis://127.0.0.1:1',
    AXLE_ENV: 'local',
    AXLE_PEPPER: 'pepper-of-the-tests-0123456789-abcdef',
  } as Env

  it.each([
    [100, '1', '100'],
    [60_000, '60', '60000'],
    [60_700, '61', '60000'],
    [120_000, '120', '60000'],
  ])('of %d ms is told whole in seconds; in ms no more than SDKs obey', async (retryAfterMs, inSeconds, inMs) => {
    const handler = () => {
      throw new AppError('rate_limit_exceeded', 'Wait.', { retryAfterMs })
    }
    const app = createApp([{ method: 'GET', path: '/wait', access: 'public', handler }])
    const { headers } = await app.request('/wait', {}, env)
    expect([headers.get('retry-after'), headers.get('retry-after-ms')]).toEqual([inSeconds, inMs])
  })
})
