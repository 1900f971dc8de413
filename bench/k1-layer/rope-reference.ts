/**
 * cos and sin of one position as transformers' float32 A.X K1 has them, written out from `_compute_yarn_parameters`.
 *
 * f32 where it computes in f32 (frequencies, position · frequency), f64 for cos and sin themselves, then f32.
 */
import { strict as assert } from 'node:assert'
import type { ModelConfig } from '../../gpu-worker/model/config.ts'

const f32 = Math.fround

/** [rope / 2] pairs (cos, sin), scaled by YaRN's factor. */
export function ropePairs(config: ModelConfig, position: number): (readonly [cos: number, sin: number])[] {
  const { theta, scaling } = config.rope
  const width = config.qkRopeHeadDim
  assert(scaling.kind === 'yarn' && scaling.mscale === 1 && scaling.mscaleAllDim === 0, 'YaRN as A.X K1 has it')
  const { factor, originalContextTokens, betaFast, betaSlow } = scaling
  // The dimension whose wave turns `turns` times within the original context.
  const dimensionOf = (turns: number): number =>
    (width * Math.log(originalContextTokens / (turns * 2 * Math.PI))) / (2 * Math.log(theta))
  const low = Math.max(0, Math.floor(dimensionOf(betaFast)))
  const high = Math.min(width - 1, Math.ceil(dimensionOf(betaSlow)))
  const scale = f32(0.1 * Math.log(factor) + 1)
  return Array.from({ length: width / 2 }, (_, i) => {
    const wave = f32(theta ** f32((2 * i) / width))
    const ramp = f32(Math.min(1, Math.max(0, f32(f32(i - low) / f32(high - low)))))
    const kept = f32(1 - ramp)
    const slow = f32(f32(1 / f32(factor * wave)) * f32(1 - kept))
    const frequency = f32(slow + f32(f32(1 / wave) * kept))
    const angle = f32(f32(position) * frequency)
    return [f32(f32(Math.cos(angle)) * scale), f32(f32(Math.sin(angle)) * scale)]
  })
}
