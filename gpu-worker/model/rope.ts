/**
 * Rotary embedding on the host: inverse frequencies, cos and sin of every position, and the softmax scale they imply.
 *
 * Rounds where transformers' float32 reference rounds (`_compute_yarn_parameters`, `DeepseekV3RotaryEmbedding`):
 * inverse frequencies and position · frequency in f32; cos and sin of that in f64, then f32. Knows no GPU.
 */
import type { ModelConfig } from './config.ts'
import type { Rope, YarnScaling } from './rope-config.ts'

const f32 = Math.fround

/** f32 [rope / 2] */
export function inverseFrequencies(rope: Rope, width: number): Float32Array {
  const plain = Float32Array.from({ length: width / 2 }, (_, i) => f32(1 / f32(rope.theta ** f32((2 * i) / width))))
  if (rope.scaling.kind === 'none') return plain
  const yarn = rope.scaling
  const [low, high] = correctionRange(yarn, rope.theta, width)
  return plain.map((_, i) => {
    const power = f32(rope.theta ** f32((2 * i) / width))
    const extrapolated = f32(1 / power)
    const interpolated = f32(1 / f32(yarn.factor * power))
    const ramp = Math.min(1, Math.max(0, f32(f32(i - low) / f32(high - low))))
    const keep = f32(1 - ramp)
    return f32(f32(interpolated * f32(1 - keep)) + f32(extrapolated * keep))
  })
}

/** First and last frequency of the blend between extrapolation and interpolation. */
function correctionRange(yarn: YarnScaling, theta: number, width: number): [low: number, high: number] {
  const dimension = (rotations: number): number =>
    (width * Math.log(yarn.originalContextTokens / (rotations * 2 * Math.PI))) / (2 * Math.log(theta))
  const low = Math.max(Math.floor(dimension(yarn.betaFast)), 0)
  const high = Math.min(Math.ceil(dimension(yarn.betaSlow)), width - 1)
  return low === high ? [low, high + 0.001] : [low, high]
}

/** What cos and sin are multiplied by. */
export function attentionFactor(rope: Rope): number {
  if (rope.scaling.kind === 'none') return 1
  const { attentionFactor: given, factor, mscale, mscaleAllDim } = rope.scaling
  if (given !== null) return given
  if (mscale !== 0 && mscaleAllDim !== 0) return yarnMscale(factor, mscale) / yarnMscale(factor, mscaleAllDim)
  return yarnMscale(factor, 1)
}

/** What a score is multiplied by: width^-½, times mscale² when the config scales all dimensions. */
export function softmaxScale(config: ModelConfig): number {
  const scale = (config.qkNopeHeadDim + config.qkRopeHeadDim) ** -0.5
  const { scaling } = config.rope
  if (scaling.kind === 'none' || scaling.mscaleAllDim === 0) return scale
  return scale * yarnMscale(scaling.factor, scaling.mscaleAllDim) ** 2
}

function yarnMscale(factor: number, mscale: number): number {
  return factor <= 1 ? 1 : 0.1 * mscale * Math.log(factor) + 1
}

/** Positions computed at a time when one of them is first asked for. */
const PAGE_POSITIONS = 256

/** (cos, sin) pairs by position, computed once. */
export class RopeTable {
  /** Values of one position: rope / 2 pairs. */
  readonly width: number
  readonly #frequencies: Float32Array
  readonly #factor: number
  readonly #pages = new Map<number, Float32Array>()

  /** `frequencies`: f32 [rope / 2] */
  constructor(config: ModelConfig, frequencies = inverseFrequencies(config.rope, config.qkRopeHeadDim)) {
    this.width = config.qkRopeHeadDim
    this.#frequencies = frequencies
    this.#factor = f32(attentionFactor(config.rope))
  }

  /** Writes the pairs of `position` to `target` at `offset`. */
  copy(position: number, target: Float32Array, offset: number): void {
    const number = Math.floor(position / PAGE_POSITIONS)
    let page = this.#pages.get(number)
    if (page === undefined) {
      page = this.#page(number)
      this.#pages.set(number, page)
    }
    const start = (position % PAGE_POSITIONS) * this.width
    target.set(page.subarray(start, start + this.width), offset)
  }

  #page(number: number): Float32Array {
    const page = new Float32Array(PAGE_POSITIONS * this.width)
    for (let i = 0; i < PAGE_POSITIONS; i++) {
      this.#frequencies.forEach((frequency, pair) => {
        const angle = f32(f32(number * PAGE_POSITIONS + i) * frequency)
        page[i * this.width + 2 * pair] = f32(f32(Math.cos(angle)) * this.#factor)
        page[i * this.width + 2 * pair + 1] = f32(f32(Math.sin(angle)) * this.#factor)
      })
    }
    return page
  }
}
