/** Which tensor is what: every layout of the family, every reason to ignore a tensor, every way in which they do not fit. */
import { describe, expect, it } from 'vitest'
import { openStoredModel } from '../../gpu-worker/model/checkpoint.ts'
import { layoutModel, LayoutError } from '../../gpu-worker/model/layout.ts'
import { axk1, deepseek, lay, move, problemsOf, put, shape, type Tensors } from '../fixtures/tensor-map.ts'

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
    // Its halves: a shared expert may lie in a bank, gate and up apart.
    const wanted = [0, axk1.intermediateSize].map((rowStart) => ({ rowStart, rowCount: axk1.intermediateSize }))
    expect(layout.layers[0]?.kind === 'dense' && layout.layers[0].mlp.gateUp.parts).toMatchObject(wanted)
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
    const expecting = { ...axk1, topkMethod: 'noaux_tc' } as const
    expect(lay(axk1, shape(axk1).tensors).warnings).toEqual([])
    expect(lay(expecting, shape(axk1).tensors).warnings.join()).toContain('noaux_tc, yet no layer has one: zeros')
    const greedy = { ...axk1, topkMethod: 'greedy' } as const
    expect(lay(greedy, shape(axk1).tensors).warnings.join()).toContain('topk_method is greedy: routed as by noaux_tc')
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

function thrownBy(act: () => unknown): unknown {
  try {
    act()
  } catch (error) {
    return error
  }
  return null
}
