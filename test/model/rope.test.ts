/** RoPE on the host: YaRN's two mscale rules, its blend, and f32 where the reference rounds. */
import { describe, expect, it } from 'vitest'
import { parseModelConfig, type ModelConfig } from '../../gpu-worker/model/config.ts'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { attentionFactor, inverseFrequencies, RopeTable, softmaxScale } from '../../gpu-worker/model/rope.ts'

const root = join(import.meta.dirname, '../..')
const configOf = (dir: string): ModelConfig =>
  parseModelConfig(JSON.parse(readFileSync(join(root, dir, 'config.json'), 'utf8')))
const tiny = configOf('models/axk1-tiny')

describe('mscale rules (transformers)', () => {
  it('mscale 1, mscale_all_dim 0: cos and sin grow, the softmax scale does not', () => {
    expect(attentionFactor(tiny.rope)).toBeCloseTo(1.138629436, 9)
    expect(softmaxScale(tiny)).toBe(48 ** -0.5)
  })

  it('mscale 1, mscale_all_dim 1: the softmax scale grows by the square, cos and sin do not', () => {
    const config = configOf('test/goldens/bias-sharded')
    expect(attentionFactor(config.rope)).toBe(1)
    expect(softmaxScale(config)).toBeCloseTo(24 ** -0.5 * 1.138629436 ** 2, 9)
  })

  it('plain RoPE scales nothing', () => {
    const config = configOf('test/goldens/per-expert-f32')
    expect(attentionFactor(config.rope)).toBe(1)
    expect(softmaxScale(config)).toBe(24 ** -0.5)
  })
})

describe('A.X K1: rope 64, theta 10,000, factor 4, 32,768 tokens before', () => {
  const rope: ModelConfig['rope'] = {
    theta: 10000,
    interleaved: true,
    scaling: {
      kind: 'yarn',
      factor: 4,
      originalContextTokens: 32768,
      betaFast: 32,
      betaSlow: 1,
      mscale: 1,
      mscaleAllDim: 0,
      attentionFactor: null,
    },
  }
  const frequencies = inverseFrequencies(rope, 64)
  const plain = inverseFrequencies({ ...rope, scaling: { kind: 'none' } }, 64)

  it('frequencies up to 17 stay, from 30 on are a quarter, and fall between', () => {
    for (let i = 0; i <= 17; i++) expect(frequencies[i]).toBe(plain[i])
    for (let i = 30; i < 32; i++) expect(frequencies[i]).toBeCloseTo((plain[i] ?? NaN) / 4, 10)
    for (let i = 1; i < 32; i++) expect(frequencies[i]).toBeLessThan(frequencies[i - 1] ?? NaN)
  })
})

it('the table is cos and sin of the f32 product, times the factor, in f32', () => {
  const table = new RopeTable(tiny)
  const frequencies = inverseFrequencies(tiny.rope, tiny.qkRopeHeadDim)
  const factor = Math.fround(attentionFactor(tiny.rope))
  const pairs = new Float32Array(2 + table.width)
  for (const position of [0, 1, 255, 256, 2047]) {
    table.copy(position, pairs, 2)
    frequencies.forEach((frequency, i) => {
      const angle = Math.fround(position * frequency)
      expect(pairs[2 + 2 * i]).toBe(Math.fround(Math.fround(Math.cos(angle)) * factor))
      expect(pairs[3 + 2 * i]).toBe(Math.fround(Math.fround(Math.sin(angle)) * factor))
    })
  }
})
