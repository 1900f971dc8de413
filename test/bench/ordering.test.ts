/** The two stages of `bench ordering`: they time the same arrivals, and tell one order from another. */
import { expect, it } from 'vitest'
import { drawArrivals } from '../../bench/ordering/arrivals.ts'
import { firstTokenMsEndToEnd } from '../../bench/ordering/end-to-end.ts'
import { firstTokenMs } from '../../bench/ordering/simulated.ts'
import { prefillRowsMax } from '../../bench/ordering/step-model.ts'
import { defaultAgeCapsMs } from '../../gpu-worker/engine/admission.ts'
import { loadModelText } from '../../gpu-worker/model/model-text.ts'
import { dice } from '../fixtures/dice.ts'

const fcfsAgeCapsMs = { interactive: 0, think: 0, batch: 0 }

it('arrivals come at the rate and in the mix that are said', () => {
  for (const pattern of ['poisson', 'bursty'] as const) {
    const arrivals = drawArrivals(dice(1), 4_000, 0.02, pattern)
    expect((arrivals.at(-1)?.atMs ?? 0) / 4_000 / 50).toBeCloseTo(1, 0)
    const shortCount = arrivals.filter(({ promptTokens }) => promptTokens <= 64).length
    expect(Math.abs(shortCount / 4_000 - 0.8)).toBeLessThan(0.03)
  }
})

it('in a burst of long prompts a short one begins sooner than in order of arrival, and everyone begins', async () => {
  const long = Array.from({ length: 12 }, () => ({ atMs: 1, promptTokens: 1_500, answerTokensMax: 8 }))
  const arrivals = [...long, { atMs: 2, promptTokens: 10, answerTokensMax: 8 }]
  const first = (ageCapsMs: typeof defaultAgeCapsMs) => firstTokenMs(arrivals, { prefillRowsMax, ageCapsMs })
  const [own, base] = [await first(defaultAgeCapsMs), await first(fcfsAgeCapsMs)]
  expect(own).toHaveLength(13)
  expect(own.at(-1)).toBeLessThan((base.at(-1) ?? 0) / 4)
})

it('behind a real queue every arrival has its first token timed', async () => {
  const text = await loadModelText('models/axk1-tiny', 'axk1-tiny')
  const arrivals = [0, 5, 10, 15].map((atMs) => ({ atMs, promptTokens: 100, answerTokensMax: 4 }))
  const samples = await firstTokenMsEndToEnd(text, arrivals)
  expect(samples).toHaveLength(4)
  // No step is shorter than that.
  for (const ms of samples) expect(ms).toBeGreaterThan(10)
})
