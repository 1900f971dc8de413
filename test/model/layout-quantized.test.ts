/** Quantised weights in a layout: their formats, and every way in which config and disk can disagree. */
import { describe, expect, it } from 'vitest'
import type { CheckpointMix } from '../../gpu-worker/model/checkpoint-shape.ts'
import { examineModel, layoutModel } from '../../gpu-worker/model/layout.ts'
import { parseQuantization } from '../../gpu-worker/model/quantization.ts'
import { axk1, move, problemsOf, put, shape, type Tensors } from '../fixtures/tensor-map.ts'

const mlp = 'model.layers.1.mlp'

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

  it('takes fused plain experts beside linear modules that compressed-tensors quantised', () => {
    const { tensors, quantization } = shape(axk1, { rest: 'int8', layout: 'fused' })
    const [, layer] = layoutModel(axk1, tensors, quantization).layers
    expect(layer?.kind === 'experts' && layer.mlp.experts[5]?.up.weight.format).toBe('bf16')
    expect(layer?.attention.out.parts[0]?.weight.format).toMatchObject({ kind: 'int8' })
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
    const unsaid = 'without a quantization_config it is not quantised, it is stored as fp8'
    expect(problemsOf(axk1, tensors)).toEqual(
      [1, 2, 3].flatMap((index) =>
        ['gate_up_proj', 'down_proj'].map((name) => `model.layers.${index}.mlp.experts.${name}: ${unsaid}`),
      ),
    )
  })
})

/** Experts in blocks of `rows` × 48, all else plain. */
function fp8Experts(rows: number) {
  const config = { quant_method: 'fp8', weight_block_size: [rows, 48] }
  return parseQuantization({
    quantization_config: { ...config, modules_to_not_convert: ['_proj', '_mqa', 'lm_head'] },
  })
}
