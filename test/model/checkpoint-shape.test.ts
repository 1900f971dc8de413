/** What a checkpoint of a given config holds, against counts published for A.X K1 and against files that exist. */
import { readFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { checkpointShape, type CheckpointMix, type CheckpointShape } from '../../gpu-worker/model/checkpoint-shape.ts'
import { parseModelConfig } from '../../gpu-worker/model/config.ts'
import { preset } from '../../gpu-worker/model/presets.ts'
import { readSafetensors } from '../../gpu-worker/model/safetensors.ts'

const plain = { experts: 'bf16', rest: 'bf16', group: 32, layout: 'fused' } as const satisfies CheckpointMix

function elements({ tensors }: CheckpointShape): number {
  return [...tensors.values()].reduce((sum, { shape }) => sum + shape.reduce((product, size) => product * size, 1), 0)
}

function bytes({ tensors }: CheckpointShape): number {
  return [...tensors.values()].reduce((sum, { byteLength }) => sum + byteLength, 0)
}

describe('checkpointShape() of the preset axk1', () => {
  it('has the published 518,983,059,456 parameters in 976 tensors, 1,037,966,118,912 bytes', () => {
    const shape = checkpointShape(preset('axk1'), plain)
    expect([shape.tensors.size, elements(shape), bytes(shape)]).toEqual([976, 518_983_059_456, 1_037_966_118_912])
    expect(shape.quantizationConfig).toBeNull()
  })

  it('has the same parameters in 35,416 tensors when stored expert by expert', () => {
    const shape = checkpointShape(preset('axk1'), { ...plain, layout: 'per-expert' })
    expect([shape.tensors.size, elements(shape)]).toEqual([35_416, 518_983_059_456])
  })

  it('never quantises router, norms, embedding or head', () => {
    for (const mix of [{ ...plain, experts: 'int4', rest: 'int8' } as const, { ...plain, experts: 'fp8' } as const]) {
      const { tensors } = checkpointShape(preset('axk1'), mix)
      const kept = [
        'model.embed_tokens.weight',
        'lm_head.weight',
        'model.norm.weight',
        'model.layers.7.mlp.gate.weight',
      ]
      expect(kept.map((name) => tensors.get(name)?.type)).toEqual(['bf16', 'bf16', 'bf16', 'bf16'])
    }
  })

  it('refuses fp8 experts beside an int8 rest, which no config states', () => {
    expect(() => checkpointShape(preset('axk1'), { ...plain, experts: 'fp8', rest: 'int8' })).toThrow(/fp8/)
  })
})

describe('checkpointShape() of a config on disk', () => {
  const kinds: readonly [folder: string, mix: CheckpointMix][] = [
    ['yarn-fused-bf16', plain],
    ['int4-experts', { ...plain, experts: 'int4' }],
  ]
  it.each(kinds)('is what %s holds, tensor for tensor', async (folder, mix) => {
    const dir = `test/goldens/${folder}`
    const json: unknown = JSON.parse(await readFile(`${dir}/config.json`, 'utf8'))
    const config = parseModelConfig({ ...(json as object), quantization_config: null }) // this test's own folder
    const file = await readSafetensors(`${dir}/model.safetensors`)
    try {
      const stored = [...file.tensors.values()].filter(({ name }) => !name.endsWith('e_score_correction_bias'))
      const shape = checkpointShape(config, mix)
      expect(Object.fromEntries(shape.tensors)).toEqual(Object.fromEntries(stored.map((info) => [info.name, info])))
    } finally {
      await file.close()
    }
  })
})

describe('preset()', () => {
  it('names the presets there are when asked for another', () => {
    expect(() => preset('toString')).toThrow('There is no preset toString: expected axk1')
  })
})
