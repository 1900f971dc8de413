/** What a step tells the sampler: temperature 0 alone is greedy, and no record holds what f32 cannot. */
import { expect, it } from 'vitest'
import { inverseTemperature } from '../../gpu-worker/model/sampler-records.ts'

const SMALLEST_NORMAL = 2 ** -126

it.each([
  [0, 0],
  [1, 1],
  [0.5, 2],
  [1e-300, 1e30],
  [2 ** 126, SMALLEST_NORMAL],
  [1e300, SMALLEST_NORMAL],
])('temperature %f is stored as %f', (temperature, stored) => {
  expect(inverseTemperature(temperature)).toBe(stored)
})
