/** Which tensor is what: every layout of the family, every reason to ignore a tensor, every way in which they do not fit. */
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { checkpointShape, type CheckpointMix } from '../../gpu-worker/model/checkpoint-shape.ts'
import { openStoredModel } from '../../gpu-worker/model/checkpoint.ts'
import { parseModelConfig, type ModelConfig } from '../../gpu-worker/model/config.ts'
import { examineModel, layoutModel, LayoutError, type ModelLayout } from '../../gpu-worker/model/layout.ts'
import { parseQuantization } from '../../gpu-worker/model/quantization.ts'
import type { StoredType, TensorInfo } from '../../gpu-worker/model/safetensors.ts'

type Tensors = Map<string, TensorInfo>

function configOf(golden: string, change: Record<string, unknown> = {}): ModelConfig {
  const json: unknown = JSON.parse(readFileSync(`test/goldens/${golden}/config.json`, 'utf8'))
  return parseModelConfig({ ...(json as Record<string, unknown>), quantization_config: null, ...change }) // our own data
}

/** 4 layers, the first dense, 16 experts; hidden 64, expert width 32. */
const axk1 = configOf('yarn-fused-bf16')
const deepseek = configOf('deepseek-v3')
const plain: CheckpointMix = { experts: 'bf16', rest: 'bf16', group: 32, layout: 'per-expert' }

function shape(config: ModelConfig, mix: Partial<CheckpointMix> = {}) {
  const { tensors, quantizationConfig } = checkpointShape(config, { ...plain, ...mix })
  return { tensors: new Map(tensors), quantization: parseQuantization({ quantization_config: quantizationConfig }) }
}

function put(tensors: Tensors, name: string, type: StoredType, sizes: readonly number[], byteLength = 1): void {
  tensors.set(name, { name, type, shape: sizes, byteLength })
}

/** A tensor under another name. */
function move(tensors: Tensors, from: string, to: string): void {
  const info = tensors.get(from)
  if (info === undefined) throw new RangeError(`No tensor ${from}`)
  tensors.delete(from)
  tensors.set(to, { ...info, name: to })
}

function lay(config: ModelConfig, tensors: Tensors): ModelLayout {
  return layoutModel(config, tensors, null)
}

function problemsOf(config: ModelConfig, tensors: Tensors): readonly string[] {
  return examineModel(config, tensors, null).problems
}

const mlp = 'model.layers.1.mlp'

describe('layoutModel()', () => {
  it.each([
    ['yarn-fused-bf16', 1, 487_552],
    ['per-expert-f32', 1, 487_552],
    ['bias-sharded', 1, 487_600],
    ['odd-shapes-f16', 2, 465_008],
    ['deepseek-no-q-lora', 0, 480_960],
    ['deepseek-v3', 0, 487_344],
    ['int4-experts', 1, 487_552],
    ['fp8-blocks', 1, 487_552],
    ['int4-zero-points', 0, 314_800],
    ['int8-channel', 1, 381_160],
    ['fp8-blocks-128', 74, 580_312],
    ['dense-tied', 0, 131_104],
    ['fused-shared', 3, 287_344],
  ])('lays out %s: %i tensors ignored, %i parameters', async (golden, ignoredCount, total) => {
    const model = await openStoredModel(`test/goldens/${golden}`)
    await model.close()
    const layout = layoutModel(model.config, model.tensors, model.quantization)
    expect(layout.layers).toHaveLength(model.config.layerCount)
    expect(layout.ignored).toHaveLength(ignoredCount)
    expect(layout.parameters.total).toBe(total)
  })

  it('finds the same experts fused, one by one, and in both ways in different layers', () => {
    const fused = shape(axk1, { layout: 'fused' }).tensors
    const each = shape(axk1).tensors
    const mixed = new Map([
      ...[...fused].filter(([name]) => !name.startsWith(`${mlp}.experts`)),
      ...[...each].filter(([name]) => name.startsWith(`${mlp}.experts`)),
    ])
    const counts = [fused, each, mixed].map((tensors) => lay(axk1, tensors).parameters)
    expect(counts[1]).toEqual(counts[0])
    expect(counts[2]).toEqual(counts[0])
    const [, first, second] = lay(axk1, mixed).layers
    expect(first?.kind === 'experts' && first.mlp.experts[3]?.up.weight.values).toBe(`${mlp}.experts.3.up_proj.weight`)
    expect(second?.kind === 'experts' && second.mlp.experts[3]?.up).toMatchObject({
      weight: { values: 'model.layers.2.mlp.experts.gate_up_proj', rowCount: 16 * 64, columnCount: 64 },
      rowStart: 3 * 64 + 32,
      rowCount: 32,
    })
  })

  it('takes gate_up_proj in one piece, in dense layers and shared experts', () => {
    const { tensors } = shape(axk1)
    const parts = lay(axk1, tensors).parameters
    for (const prefix of ['model.layers.0.mlp', `${mlp}.shared_experts`]) {
      const width = tensors.get(`${prefix}.gate_proj.weight`)?.shape[0] ?? 0
      tensors.delete(`${prefix}.gate_proj.weight`)
      tensors.delete(`${prefix}.up_proj.weight`)
      put(tensors, `${prefix}.gate_up_proj.weight`, 'bf16', [2 * width, axk1.hiddenSize])
    }
    const layout = lay(axk1, tensors)
    expect(layout.parameters).toEqual(parts)
    expect(layout.layers[0]?.kind === 'dense' && layout.layers[0].mlp.gateUp.parts).toHaveLength(1)
  })

  it('takes a single shared expert as the first of a list, and refuses several', () => {
    const { tensors } = shape(axk1)
    const two = shape({ ...axk1, sharedExpertCount: 2 }).tensors
    for (const projection of ['gate_proj', 'up_proj', 'down_proj']) {
      const [from, to] = [`${mlp}.shared_experts.${projection}.weight`, `${mlp}.shared_experts.0.${projection}.weight`]
      move(tensors, from, to)
      move(two, from, to)
    }
    expect(problemsOf(axk1, tensors)).toEqual([])
    expect(problemsOf({ ...axk1, sharedExpertCount: 2 }, two)).toContain(
      `${mlp}.shared_experts.0: not supported yet: 2 shared experts, stored one by one`,
    )
  })

  it('needs no query rank and no shared expert', () => {
    const config = { ...deepseek, qLoraRank: null, sharedExpertCount: 0 }
    const { tensors } = shape(config)
    for (const name of tensors.keys()) if (name.includes('.shared_experts.')) tensors.delete(name)
    const layout = lay(config, tensors)
    expect(layout.layers[1]?.attention.lowRankQuery).toBeNull()
    expect(layout.layers[1]?.kind === 'experts' && layout.layers[1].mlp.shared).toBeNull()
  })

  it.each([0, 4])('takes %i dense layers of 4', (denseLayerCount) => {
    const config = { ...axk1, denseLayerCount }
    const { layers } = lay(config, shape(config).tensors)
    expect(layers.filter(({ kind }) => kind === 'dense')).toHaveLength(denseLayerCount)
  })

  it('takes the norm after the MLP under both names, and ignores it on dense layers', () => {
    const { tensors } = shape(axk1)
    move(tensors, 'model.layers.2.post_mlp_layernorm.weight', 'model.layers.2.mlp.post_mlp_layernorm.weight')
    move(tensors, 'model.layers.0.post_mlp_layernorm.weight', 'model.layers.0.mlp.post_mlp_layernorm.weight')
    const layout = lay(axk1, tensors)
    const norms = layout.layers.map((layer) => (layer.kind === 'experts' ? layer.mlp.norm?.tensor : undefined))
    expect(norms).toEqual([
      undefined,
      'model.layers.1.post_mlp_layernorm.weight',
      'model.layers.2.mlp.post_mlp_layernorm.weight',
      'model.layers.3.post_mlp_layernorm.weight',
    ])
    expect(layout.ignored.map(({ tensor }) => tensor)).toEqual(['model.layers.0.mlp.post_mlp_layernorm.weight'])
  })

  it('refuses a norm after the MLP in a model without one', () => {
    const { tensors } = shape(deepseek)
    put(tensors, 'model.layers.1.post_mlp_layernorm.weight', 'bf16', [64])
    expect(problemsOf(deepseek, tensors)).toEqual([
      '"model.layers.1.post_mlp_layernorm.weight" is no part of this model',
    ])
  })

  it('ties embeddings whichever of them is stored, and uses a head that is stored besides', () => {
    const tied = { ...axk1, tieWordEmbeddings: true }
    const { tensors } = shape(tied)
    const layout = lay(tied, tensors)
    expect(layout.output?.head).toBe(layout.embedding)
    expect(layout.parameters.total).toBe(lay(axk1, shape(axk1).tensors).parameters.total - 512 * 64)

    move(tensors, 'model.embed_tokens.weight', 'lm_head.weight')
    const swapped = lay(tied, tensors)
    expect(swapped.embedding?.parts[0]?.weight.values).toBe('lm_head.weight')
    expect(swapped.output?.head).toBe(swapped.embedding)

    const both = lay(tied, shape(axk1).tensors)
    expect(both.output?.head.parts[0]?.weight.values).toBe('lm_head.weight')
    expect(both.embedding?.parts[0]?.weight.values).toBe('model.embed_tokens.weight')
    expect(both.warnings.join()).toContain('tie_word_embeddings is true, yet lm_head is stored')
  })

  it('ignores layers for prediction ahead, RoPE buffers and empty tensors, each for its reason', () => {
    const { tensors } = shape(deepseek)
    put(tensors, 'model.layers.4.eh_proj.weight', 'bf16', [64, 128])
    put(tensors, 'model.layers.4.mlp.experts.0.up_proj.weight', 'bf16', [32, 64])
    put(tensors, 'model.layers.1.self_attn.rotary_emb.inv_freq', 'f32', [4])
    put(tensors, 'model.empty', 'f32', [0], 0)
    const reasons = lay(deepseek, tensors).ignored.map(({ reason }) => reason)
    expect(reasons).toEqual([
      expect.stringContaining('prediction ahead'),
      expect.stringContaining('prediction ahead'),
      expect.stringContaining('RoPE'),
      expect.stringContaining('no value'),
    ])
  })

  it('refuses a layer beyond the last that is not for prediction ahead', () => {
    const { tensors } = shape(deepseek)
    expect(problemsOf({ ...deepseek, layerCount: 3 }, tensors)).toContain(
      '"model.layers.3.input_layernorm.weight" is no part of this model',
    )
  })

  it('warns of a router without a bias where one is expected, or where others have one', () => {
    const expecting = { ...axk1, expectsRouterBias: true }
    expect(lay(axk1, shape(axk1).tensors).warnings).toEqual([])
    expect(lay(expecting, shape(axk1).tensors).warnings.join()).toContain('noaux_tc, yet no layer has one: zeros')
    const { tensors } = shape(deepseek)
    tensors.delete('model.layers.2.mlp.gate.e_score_correction_bias')
    const layout = lay(deepseek, tensors)
    expect(layout.warnings.join()).toContain('not layers 2')
    expect(layout.layers.map((layer) => layer.kind === 'experts' && layer.mlp.bias !== null)).toEqual([
      false,
      true,
      false,
      true,
    ])
  })

  it('cuts a range of layers: embedding with the first, head with the last, nothing lost', () => {
    const { tensors } = shape(axk1)
    const [all, left, right] = [undefined, { start: 0, end: 1 }, { start: 1, end: 4 }].map((range) =>
      layoutModel(axk1, tensors, null, range),
    )
    expect([left?.embedding === null, left?.output === null]).toEqual([false, true])
    expect([right?.embedding === null, right?.output === null]).toEqual([true, false])
    expect(right?.layers.map(({ index }) => index)).toEqual([1, 2, 3])
    expect((left?.parameters.total ?? 0) + (right?.parameters.total ?? 0)).toBe(all?.parameters.total)
    for (const range of [
      { start: 1, end: 1 },
      { start: 0, end: 5 },
      { start: -1, end: 2 },
      { start: 0.5, end: 2 },
    ]) {
      expect(() => layoutModel(axk1, tensors, null, range)).toThrow(RangeError)
    }
  })

  it('needs a head at the end of a range though the embedding it is tied to stands at the beginning', () => {
    const tied = { ...axk1, tieWordEmbeddings: true }
    const layout = layoutModel(tied, shape(tied).tensors, null, { start: 3, end: 4 })
    expect(layout.embedding).toBeNull()
    expect(layout.output?.head.parts[0]?.weight.values).toBe('model.embed_tokens.weight')
  })

  it('keeps the stored type of each tensor', () => {
    const { tensors } = shape(axk1)
    put(tensors, 'model.layers.0.self_attn.o_proj.weight', 'f32', [64, 64])
    put(tensors, 'model.norm.weight', 'f16', [64])
    const layout = lay(axk1, tensors)
    expect(layout.layers[0]?.attention.out.parts[0]?.weight.format).toBe('f32')
    expect(layout.output?.norm.format).toBe('f16')
  })

  it.each<[problem: string, change: (tensors: Tensors) => unknown]>([
    ['model.norm.weight is missing', (tensors) => tensors.delete('model.norm.weight')],
    ['lm_head.weight is missing', (tensors) => tensors.delete('lm_head.weight')],
    ['model.embed_tokens.weight is missing', (tensors) => tensors.delete('model.embed_tokens.weight')],
    [
      'model.layers.1.post_mlp_layernorm.weight or model.layers.1.mlp.post_mlp_layernorm.weight is missing',
      (tensors) => tensors.delete('model.layers.1.post_mlp_layernorm.weight'),
    ],
    [`${mlp}.gate.weight is missing`, (tensors) => tensors.delete(`${mlp}.gate.weight`)],
    [`${mlp}.experts.7.up_proj.weight is missing`, (tensors) => tensors.delete(`${mlp}.experts.7.up_proj.weight`)],
    [
      `${mlp}.experts: neither fused (gate_up_proj, down_proj) nor one by one (0.gate_proj.weight, …)`,
      (tensors) => tensors.delete(`${mlp}.experts.0.gate_proj.weight`),
    ],
    [
      `${mlp}.experts.gate_up_proj is missing`,
      (tensors) => put(tensors, `${mlp}.experts.down_proj`, 'bf16', [16, 64, 32]),
    ],
    [
      `"${mlp}.gate.weight": expected f32 or f16 or bf16 [16, 64], got bf16 [64, 16]`,
      (tensors) => put(tensors, `${mlp}.gate.weight`, 'bf16', [64, 16]),
    ],
    [
      '"model.norm.weight": expected f32 or f16 or bf16 [64], got i32 [64]',
      (tensors) => put(tensors, 'model.norm.weight', 'i32', [64]),
    ],
    [
      `"${mlp}.gate.e_score_correction_bias": expected f32 or f16 or bf16 [16], got f32 [15]`,
      (tensors) => put(tensors, `${mlp}.gate.e_score_correction_bias`, 'f32', [15]),
    ],
    [
      `${mlp}.experts.2: gate_proj and up_proj must be stored alike, got bf16 and f32`,
      (tensors) => put(tensors, `${mlp}.experts.2.up_proj.weight`, 'f32', [32, 64]),
    ],
    [
      '"model.layers.0.self_attn.q_a_proj.bias" is no part of this model',
      (tensors) => put(tensors, 'model.layers.0.self_attn.q_a_proj.bias', 'bf16', [48]),
    ],
    [
      '"model.layers.0.mlp.gate.weight" is no part',
      (tensors) => put(tensors, 'model.layers.0.mlp.gate.weight', 'bf16', [16, 64]),
    ],
    ['"model.layers.01.x" is no part', (tensors) => put(tensors, 'model.layers.01.x', 'bf16', [1])],
    [
      `"${mlp}.experts.16.up_proj.weight" is no part`,
      (tensors) => put(tensors, `${mlp}.experts.16.up_proj.weight`, 'bf16', [32, 64]),
    ],
    ['"layers.4.eh_proj.weight" is no part', (tensors) => put(tensors, 'layers.4.eh_proj.weight', 'bf16', [1])],
  ])('refuses by name: %s', (problem, change) => {
    const { tensors } = shape(axk1)
    change(tensors)
    expect(problemsOf(axk1, tensors).join('; ')).toContain(problem)
    expect(() => lay(axk1, tensors)).toThrow(LayoutError)
  })

  it('names a few problems and counts the others; all are listed', () => {
    const error = thrownBy(() => lay(axk1, new Map()))
    expect(error).toBeInstanceOf(LayoutError)
    expect(error instanceof LayoutError && error.message).toMatch(
      /^Cannot load the weights: model\.norm\.weight is missing; .*; and \d+ more problems \(axle inspect lists them\)$/,
    )
    expect(error instanceof LayoutError && error.problems).toContain(
      'model.layers.3.self_attn.o_proj.weight is missing',
    )
  })
})

describe('layoutModel() of quantised weights', () => {
  it.each<[Partial<CheckpointMix>, expert: unknown, attention: unknown]>([
    [
      { experts: 'int4', rest: 'int8' },
      { kind: 'int4', groupColumns: 32, scale: 'bf16', hasZeroPoints: false },
      { kind: 'int8', groupColumns: 32, scale: 'bf16', hasZeroPoints: false },
    ],
    [{ experts: 'int8' }, { kind: 'int8', groupColumns: 32, scale: 'bf16', hasZeroPoints: false }, 'bf16'],
    [{ rest: 'int8', group: 64 }, 'bf16', { kind: 'int8', groupColumns: 64, scale: 'bf16', hasZeroPoints: false }],
    [{ experts: 'fp8' }, { kind: 'fp8', groupColumns: 128, scale: 'f32', hasZeroPoints: false }, 'bf16'],
  ])('knows the formats of %j', (mix, expert, attention) => {
    const { tensors, quantization } = shape(axk1, mix)
    const [, layer] = layoutModel(axk1, tensors, quantization).layers
    expect(layer?.kind === 'experts' && layer.mlp.experts[5]?.down.weight.format).toEqual(expert)
    expect(layer?.attention.out.parts[0]?.weight.format).toEqual(attention)
  })

  const expert = `${mlp}.experts.5.up_proj`
  const o = 'model.layers.1.self_attn.o_proj'
  it.each<[problem: string, mix: Partial<CheckpointMix>, change: (tensors: Tensors) => unknown]>([
    [
      `${expert}: quantization_config says it is quantised to int4, it is stored plain`,
      { experts: 'int4' },
      (tensors) => {
        for (const name of ['weight_packed', 'weight_scale', 'weight_shape']) tensors.delete(`${expert}.${name}`)
        put(tensors, `${expert}.weight`, 'bf16', [32, 64])
      },
    ],
    [
      `${o}: quantization_config says it is not quantised, it is stored packed as integers`,
      { experts: 'int4' },
      (tensors) => move(tensors, `${o}.weight`, `${o}.weight_packed`),
    ],
    [
      `${o}: quantization_config says it is not quantised, it is stored as fp8`,
      { experts: 'int4' },
      (tensors) => put(tensors, `${o}.weight`, 'f8_e4m3', [64, 64]),
    ],
    [
      `${mlp}.gate: quantization_config says it is not quantised, it is stored as fp8`,
      { experts: 'fp8' },
      (tensors) => put(tensors, `${mlp}.gate.weight`, 'f8_e4m3', [16, 64]),
    ],
    [
      `${expert}: quantization_config says it is quantised to fp8, it is stored plain`,
      { experts: 'fp8' },
      (tensors) => put(tensors, `${expert}.weight`, 'bf16', [32, 64]),
    ],
    [
      `"${o}.weight": expected f32 or f16 or bf16 [64, 64], got f8_e5m2 [64, 64]`,
      { experts: 'fp8' },
      (tensors) => put(tensors, `${o}.weight`, 'f8_e5m2', [64, 64]),
    ],
    [`${expert}.weight_packed is missing`, { experts: 'int4' }, (tensors) => tensors.delete(`${expert}.weight_packed`)],
    [`${expert}.weight_scale is missing`, { experts: 'int8' }, (tensors) => tensors.delete(`${expert}.weight_scale`)],
    [
      `${expert}.weight_scale_inv is missing`,
      { experts: 'fp8' },
      (tensors) => tensors.delete(`${expert}.weight_scale_inv`),
    ],
    [
      `"${expert}.weight_packed": expected i32 [32, 8], got i32 [32, 16]`,
      { experts: 'int4' },
      (tensors) => put(tensors, `${expert}.weight_packed`, 'i32', [32, 16]),
    ],
    [
      `"${expert}.weight_scale": expected f32 or f16 or bf16 [32, 2], got bf16 [32, 1]`,
      { experts: 'int4' },
      (tensors) => put(tensors, `${expert}.weight_scale`, 'bf16', [32, 1]),
    ],
    [
      `"${expert}.weight_shape": expected i64 or i32 [2], got i64 [3]`,
      { experts: 'int4' },
      (tensors) => put(tensors, `${expert}.weight_shape`, 'i64', [3]),
    ],
    [
      `"${expert}.weight_zero_point" is no part of this model`,
      { experts: 'int4' },
      (tensors) => put(tensors, `${expert}.weight_zero_point`, 'i32', [4, 2]),
    ],
    [
      `"${expert}.weight_g_idx" is no part of this model`,
      { experts: 'int4' },
      (tensors) => put(tensors, `${expert}.weight_g_idx`, 'i32', [64]),
    ],
    [
      `"${expert}.input_scale" is no part`,
      { experts: 'fp8' },
      (tensors) => put(tensors, `${expert}.input_scale`, 'f32', [1]),
    ],
  ])('refuses by name: %s', (problem, mix, change) => {
    const { tensors, quantization } = shape(axk1, mix)
    change(tensors)
    expect(examineModel(axk1, tensors, quantization).problems.join('; ')).toContain(problem)
  })

  it('says so where integers lie without a quantization_config', () => {
    const { tensors } = shape(axk1, { rest: 'int8' })
    expect(problemsOf(axk1, tensors)).toContain(
      `${o}: without a quantization_config it is not quantised, it is stored packed as integers`,
    )
  })

  it('wants zero points where weights are not symmetric: packed along the rows', () => {
    const { tensors } = shape(axk1, { rest: 'int8' })
    const weights = { num_bits: 8, type: 'int', symmetric: false, strategy: 'group', group_size: 32 }
    const config = { quant_method: 'compressed-tensors', format: 'pack-quantized', ignore: ['re:.*mlp', 'lm_head'] }
    const quantization = parseQuantization({
      quantization_config: { ...config, config_groups: { all: { targets: ['Linear'], weights } } },
    })
    const { problems } = examineModel(axk1, tensors, quantization)
    expect(problems).toContain(`${o}.weight_zero_point is missing`)
    put(tensors, `${o}.weight_zero_point`, 'i32', [16, 2])
    expect(examineModel(axk1, tensors, quantization).problems).not.toContain(`${o}.weight_zero_point is missing`)
  })

  it('takes one scale for a whole matrix, as [1] or []', () => {
    const weights = { num_bits: 8, type: 'int', symmetric: true, strategy: 'tensor' }
    const config = { quant_method: 'compressed-tensors', format: 'pack-quantized' }
    const quantization = parseQuantization({
      quantization_config: { ...config, config_groups: { all: { targets: [o], weights } } },
    })
    for (const sizes of [[1], []]) {
      const { tensors } = shape(axk1)
      tensors.delete(`${o}.weight`)
      put(tensors, `${o}.weight_packed`, 'i32', [64, 16])
      put(tensors, `${o}.weight_scale`, 'f32', sizes)
      const [, layer] = layoutModel(axk1, tensors, quantization).layers
      expect(layer?.attention.out.parts[0]?.weight).toMatchObject({ rowsPerScale: 64, format: { groupColumns: 64 } })
    }
  })

  it('takes fused experts in fp8 where blocks do not cross experts', () => {
    const { tensors } = shape(axk1, { layout: 'fused' })
    for (const layer of [1, 2, 3]) {
      const experts = `model.layers.${layer}.mlp.experts`
      put(tensors, `${experts}.gate_up_proj`, 'f8_e4m3', [16, 64, 64])
      put(tensors, `${experts}.gate_up_proj_scale_inv`, 'f32', [16, 4, 2])
      put(tensors, `${experts}.down_proj`, 'f8_e4m3', [16, 64, 32])
      put(tensors, `${experts}.down_proj_scale_inv`, 'f32', [16, 4, 1])
    }
    const [, layer] = layoutModel(axk1, tensors, fp8Experts(16)).layers
    expect(layer?.kind === 'experts' && layer.mlp.experts[1]?.up).toMatchObject({
      weight: { scales: `${mlp}.experts.gate_up_proj_scale_inv`, rowsPerScale: 16, rowCount: 16 * 64 },
      rowStart: 64 + 32,
    })
    expect(examineModel(axk1, tensors, fp8Experts(24)).problems.join('; ')).toContain(
      `${mlp}.experts.gate_up_proj: blocks of 24 rows do not divide an expert's 64`,
    )
  })
})

function thrownBy(act: () => unknown): unknown {
  try {
    act()
  } catch (error) {
    return error
  }
  return null
}

/** Experts in blocks of `rows` × 48, all else plain. */
function fp8Experts(rows: number) {
  const config = { quant_method: 'fp8', weight_block_size: [rows, 48] }
  return parseQuantization({
    quantization_config: { ...config, modules_to_not_convert: ['_proj', '_mqa', 'lm_head'] },
  })
}
