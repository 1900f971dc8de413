/** The machinery of `bench k1-layer` at a width that takes seconds: hash, GPU fill, f64 reference, and its control. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { exponentFor, floatPattern, mix, rowSeed, seedOf, hashedWord } from '../../bench/k1-layer/counter-hash.ts'
import { HashedRows } from '../../bench/k1-layer/hashed-rows.ts'
import { HashedWeights, type Storage } from '../../bench/k1-layer/hashed-weights.ts'
import { runLayer } from '../../bench/k1-layer/layer-run.ts'
import { Buffers, type Slice } from '../../gpu-worker/gpu/buffers.ts'
import { openDevice, type Gpu } from '../../gpu-worker/gpu/device.ts'
import { Readback } from '../../gpu-worker/gpu/readback.ts'
import { isPlain, rowLayout, type WeightFormat } from '../../gpu-worker/kernels/matrix.ts'
import { parseModelConfig } from '../../gpu-worker/model/config.ts'
import { presetJson } from '../../gpu-worker/model/presets.ts'
import { notFiniteCount } from '../../gpu-worker/model/not-finite.ts'
import type { StoredWeight } from '../../gpu-worker/model/row-source.ts'
import { widened } from '../../gpu-worker/model/widened.ts'

let gpu: Gpu
beforeAll(async () => {
  gpu = await openDevice()
})
afterAll(() => gpu.close())

describe('the counter hash', () => {
  it('maps u32 to u32 without an obvious pattern', () => {
    const words = Array.from({ length: 4096 }, (_, i) => hashedWord(rowSeed(seedOf('model.norm.weight'), 3), i))
    expect(new Set(words).size).toBe(4096)
    expect(words.every((word) => Number.isInteger(word) && word >= 0 && word < 2 ** 32)).toBe(true)
    for (let bit = 0; bit < 32; bit++) {
      const ones = words.filter((word) => ((word >>> bit) & 1) === 1).length
      // Five standard deviations of 4,096 fair coins.
      expect(Math.abs(ones - 2048)).toBeLessThan(160)
    }
  })

  it.each(['f32', 'f16', 'bf16'] as const)('makes normal %s of the size asked for', (format) => {
    const { mask, bits } = floatPattern(format, -3, true)
    const words = Uint32Array.from({ length: 1000 }, (_, i) => ((mix(i) & mask) | bits) >>> 0)
    const sizes = widened(new Uint8Array(words.buffer), format).map((value) => Math.abs(value))
    expect(Math.min(...sizes)).toBeGreaterThanOrEqual(0.125)
    expect(Math.max(...sizes)).toBeLessThan(0.25)
    expect(() => floatPattern('f16', -15, true)).toThrow(RangeError)
  })
})

const columns = 77
const cases: readonly (readonly [module: string, format: WeightFormat, storage: Storage])[] = [
  ['model.layers.1.mlp.gate', 'bf16', { kind: 'bf16' }],
  ['model.layers.1.input_layernorm', 'bf16', { kind: 'bf16' }],
  ['model.layers.1.self_attn.o_proj', packed('int8'), { kind: 'int8', group: 32 }],
  ['model.layers.1.mlp.experts.191.down_proj', packed('int4'), { kind: 'int4', group: 32 }],
]

function packed(kind: 'int4' | 'int8'): WeightFormat {
  return { kind, groupColumns: 32, scale: 'bf16', hasZeroPoints: false }
}

describe.each(cases)('%s', (module, format, storage) => {
  const weight: StoredWeight = {
    name: module,
    values: `${module}.weight${isPlain(format) ? '' : '_packed'}`,
    scales: isPlain(format) ? null : `${module}.weight_scale`,
    zeroPoints: null,
    rowCount: 9,
    columnCount: columns,
    format,
    rowsPerScale: 1,
  }

  it('is on the GPU what it is on the CPU, whatever rows are asked for, and nothing else is touched', async () => {
    const { bytes, scaleStart } = rowLayout(columns, format)
    const all = await filled(11 * bytes, async (source, target) => {
      await source.rows(weight, 4, 5, target, 5 * bytes)
      await source.rows(weight, 0, 4, target, bytes)
    })
    expect(all.subarray(0, bytes).every((byte) => byte === 0)).toBe(true)
    expect(all.subarray(10 * bytes).every((byte) => byte === 0)).toBe(true)
    const weights = new HashedWeights(() => storage)
    const expected = new Float64Array(columns)
    for (let row = 0; row < 9; row++) {
      weights.row(module, row, expected)
      const record = all.slice((row + 1) * bytes, (row + 2) * bytes)
      expect([...decoded(record, format, scaleStart)]).toEqual([...expected])
    }
  })

  it('is of a size that keeps what it multiplies', () => {
    const row = new Float64Array(columns)
    new HashedWeights(() => storage).row(module, 0, row)
    const rms = Math.sqrt(row.reduce((sum, value) => sum + value ** 2, 0) / columns)
    const isNorm = module.endsWith('norm')
    expect(rms).toBeGreaterThan(isNorm ? 0.5 : 0.4 / Math.sqrt(columns))
    expect(rms).toBeLessThan(isNorm ? 1 : 5 / Math.sqrt(columns))
    expect(exponentFor(1, 7168, 'int4')).toBeLessThan(0)
  })
})

async function filled(
  byteCount: number,
  fill: (source: HashedRows, target: Slice) => Promise<void>,
): Promise<Uint8Array<ArrayBuffer>> {
  const buffers = new Buffers(gpu, 'test')
  const target = buffers.storage('rows', byteCount)
  const source = new HashedRows(gpu)
  await fill(source, target)
  await source.close()
  const readback = new Readback(gpu, buffers, target.bytes)
  const encoder = gpu.device.createCommandEncoder()
  readback.copy(encoder, target, target.bytes)
  gpu.device.queue.submit([encoder.finish()])
  const bytes = await readback.read(target.bytes, 'a test')
  buffers.close()
  return bytes
}

/** A record read by the words of `kernels/matrix.ts`. */
function decoded(record: Uint8Array<ArrayBuffer>, format: WeightFormat, scaleStart: number): Float64Array {
  if (isPlain(format)) return Float64Array.from(widened(record, format).subarray(0, columns))
  const scales = widened(record.slice(scaleStart), 'bf16')
  return Float64Array.from({ length: columns }, (_, k) => {
    const byte = record[format.kind === 'int4' ? k >> 1 : k] ?? NaN
    const value = format.kind === 'int4' ? ((byte >> (4 * (k & 1))) & 15) - 8 : byte - 128
    return value * (scales[Math.floor(k / 32)] ?? NaN)
  })
}

it('fp8 is filled without a NaN, its scales repeated for the rows of a block', async () => {
  const format: WeightFormat = { kind: 'fp8', groupColumns: 128, scale: 'f32', hasZeroPoints: false }
  const weight: StoredWeight = {
    name: 'w',
    values: 'w.weight',
    scales: 'w.weight_scale_inv',
    zeroPoints: null,
    rowCount: 6,
    columnCount: 1000,
    format,
    rowsPerScale: 4,
  }
  const { bytes, scaleStart } = rowLayout(1000, format)
  const all = await filled(6 * bytes, (source, target) => source.rows(weight, 0, 6, target, 0))
  const scales = Array.from({ length: 6 }, (_, row) => all.slice(row * bytes + scaleStart, (row + 1) * bytes))
  for (let row = 0; row < 6; row++) {
    expect(notFiniteCount(all.slice(row * bytes, row * bytes + 1000), 'fp8')).toBe(0)
    expect(scales[row]).toEqual(scales[row < 4 ? 0 : 4])
  }
  expect(scales[0]).not.toEqual(scales[4])
})

describe('a layer of A.X K1, narrowed, through the Runner', () => {
  /** No width that a power of two divides far; positions and RoPE as at full size. */
  const config = parseModelConfig({
    ...presetJson('axk1'),
    vocab_size: 64,
    bos_token_id: 1,
    eos_token_id: 2,
    hidden_size: 328,
    intermediate_size: 64,
    moe_intermediate_size: 100,
    num_hidden_layers: 3,
    num_attention_heads: 3,
    num_key_value_heads: 3,
    n_routed_experts: 24,
    n_group: 4,
    topk_group: 2,
    num_experts_per_tok: 4,
    q_lora_rank: 116,
    kv_lora_rank: 84,
    qk_nope_head_dim: 40,
    v_head_dim: 24,
  })
  const layerCase = {
    config,
    mix: { experts: 'int4', rest: 'int8', group: 32, layout: 'per-expert' },
    layer: 1,
    prefillTokens: 81,
    farBlocks: 3125,
  } as const

  it('equals its f64 reference at positions 0, 1, 100,017 and 100,018, and chooses its experts', async () => {
    const { tokens } = await runLayer({ ...layerCase, isControl: false })
    expect(tokens.map(({ position }) => position)).toEqual([0, 1, 100_017, 100_018])
    for (const token of tokens) {
      expect(token.areExpertsEqual).toBe(true)
      expect(token.addedNmse).toBeLessThan(1e-10)
      expect(token.nmse).toBeLessThan(1e-10)
    }
  })

  it('does not when one scale is doubled', async () => {
    const { tokens } = await runLayer({ ...layerCase, isControl: true })
    for (const { nmse } of tokens) expect(nmse).toBeGreaterThan(1e-7)
  })
})
