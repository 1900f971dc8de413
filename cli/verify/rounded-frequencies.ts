/**
 * Inverse RoPE frequencies as a reference has them that had been cast to 16 bits: rounded to the nearest, ties to even.
 *
 * For repeating such a reference only; Axle serves with none of this.
 */
import type { ModelConfig } from '../../gpu-worker/model/config.ts'
import { inverseFrequencies } from '../../gpu-worker/model/rope.ts'

export const frequencyTypes = ['f32', 'bf16', 'f16'] as const
export type FrequencyType = (typeof frequencyTypes)[number]

/** Significant bits, and the exponent of the smallest step. */
const PRECISION = {
  f32: { bits: 24, leastExponent: -149 },
  bf16: { bits: 8, leastExponent: -133 },
  f16: { bits: 11, leastExponent: -24 },
} as const

/** f32 [rope / 2] */
export function roundedFrequencies(type: FrequencyType): (config: ModelConfig) => Float32Array {
  const { bits, leastExponent } = PRECISION[type]
  return (config) =>
    inverseFrequencies(config.rope, config.qkRopeHeadDim).map((value) => {
      const step = 2 ** Math.max(Math.floor(Math.log2(value)) - bits + 1, leastExponent)
      const steps = value / step
      const down = Math.floor(steps)
      const isUp = steps - down > 0.5 || (steps - down === 0.5 && down % 2 !== 0)
      return (isUp ? down + 1 : down) * step
    })
}
