/** What weights weigh: A.X K1 to the parameter, and the bytes that loading allocates to the byte. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { checkpointShape, type CheckpointMix } from '../../gpu-worker/model/checkpoint-shape.ts'
import { openStoredModel } from '../../gpu-worker/model/checkpoint.ts'
import { layoutBytes, storedBytes, WEIGHT_KINDS } from '../../gpu-worker/model/layout-sizes.ts'
import { layoutModel, type ModelLayout } from '../../gpu-worker/model/layout.ts'
import { loadRunner, type LoadedRunner } from '../../gpu-worker/model/load-runner.ts'
import { preset } from '../../gpu-worker/model/presets.ts'
import { parseQuantization } from '../../gpu-worker/model/quantization.ts'

function k1(mix: CheckpointMix): { readonly layout: ModelLayout; readonly fileBytes: number; readonly count: number } {
  const config = preset('axk1')
  const { tensors, quantizationConfig } = checkpointShape(config, mix)
  const layout = layoutModel(config, tensors, parseQuantization({ quantization_config: quantizationConfig }))
  return { layout, fileBytes: storedBytes(layout, tensors), count: tensors.size }
}

function total(layout: ModelLayout): number {
  return Object.values(layoutBytes(layout)).reduce((sum, bytes) => sum + bytes, 0)
}

describe('A.X K1', () => {
  it('has 976 tensors as published, 518,983,059,456 parameters, 32.78 billion of them active, and 1.038 TB', () => {
    const { layout, fileBytes, count } = k1({ experts: 'bf16', rest: 'bf16', group: 32, layout: 'fused' })
    const layer0Norm = 7168
    expect(count).toBe(976)
    expect(layout.parameters.total).toBe(518_983_059_456)
    // 192 experts a layer, 8 of them run.
    const expertParameters = 60 * 192 * 3 * 2048 * 7168
    expect(layout.parameters.active).toBe(518_983_059_456 - layer0Norm - (expertParameters / 192) * 184)
    expect(fileBytes).toBe(2 * (518_983_059_456 - layer0Norm))
    // Its dimensions need no padding. Norms are f32 on the GPU; what the file has not is a router's bias and table of
    // places: 192 experts and the shared one, in whole vec4s.
    const norms = 61 * (2 * 7168 + 1536 + 512) + 60 * 7168 + 7168
    expect(total(layout)).toBe(fileBytes + 2 * norms + 60 * (192 * 4 + 194 * 8))
  })

  it('has as many one by one, in 35,416 tensors, and quantised', () => {
    const each = k1({ experts: 'bf16', rest: 'bf16', group: 32, layout: 'per-expert' })
    const quantised = k1({ experts: 'int4', rest: 'int8', group: 32, layout: 'per-expert' })
    expect(each.count).toBe(35_416)
    for (const { layout } of [each, quantised]) expect(layout.parameters.total).toBe(518_983_059_456)
    // 4 bits a value and a bf16 scale for each 32: 4.5 bits.
    expect(layoutBytes(quantised.layout).routedExperts).toBe((60 * 192 * 3 * 2048 * 7168 * 4.5) / 8)
  })
})

describe.each(['odd-shapes-f16', 'int4-zero-points', 'fp8-blocks-128', 'dense-tied', 'fused-shared'])(
  '%s',
  (golden) => {
    let loaded: LoadedRunner
    beforeAll(async () => {
      loaded = await loadRunner({ checkpoint: `test/goldens/${golden}`, sequencesMax: 1, rowsMax: 4 })
    })
    afterAll(() => loaded.runner.close())

    it('takes the bytes on the GPU that its layout counts, every kind within them', async () => {
      const model = await openStoredModel(`test/goldens/${golden}`)
      await model.close()
      const layout = layoutModel(model.config, model.tensors, model.quantization)
      const bytes = layoutBytes(layout)
      expect(total(layout)).toBe(loaded.weightBytes)
      const isDense = model.config.denseLayerCount === model.config.layerCount
      const empty = new Set(WEIGHT_KINDS.filter((kind) => bytes[kind] === 0))
      expect(empty.has('routedExperts')).toBe(isDense)
      expect(empty.has('denseMlp')).toBe(model.config.denseLayerCount === 0)
    })
  },
)
