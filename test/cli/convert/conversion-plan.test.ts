/**
 * The plan of a conversion: what it quantises, what it leaves, how the result is named, and that its config says the same.
 *
 * Pure: names, types and shapes of the goldens and of A.X K1, no weights.
 */
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import {
  outputTensors,
  planConversion,
  type ConversionMix,
  type ConversionPlan,
} from '../../../cli/convert/conversion-plan.ts'
import { checkpointShape, preset } from '../../../gpu-worker/model/checkpoint-shape.ts'
import { openCheckpoint, type Checkpoint } from '../../../gpu-worker/model/checkpoint.ts'
import { layoutModel } from '../../../gpu-worker/model/layout.ts'
import { parseQuantization } from '../../../gpu-worker/model/quantization.ts'
import type { TensorInfo } from '../../../gpu-worker/model/safetensors.ts'

const goldens = join(import.meta.dirname, '../../goldens')
const mixes: ConversionMix[] = [
  { experts: 'int4', rest: 'bf16', group: 32 },
  { experts: 'int4', rest: 'int8', group: 64 },
  { experts: 'int8', rest: 'int8', group: 128 },
]
const GIB = 2 ** 30

const opened: Checkpoint[] = []
afterAll(() => Promise.all(opened.map((checkpoint) => checkpoint.close())))

async function golden(name: string): Promise<Checkpoint> {
  const checkpoint = await openCheckpoint(join(goldens, name))
  opened.push(checkpoint)
  return checkpoint
}

function tensorsOf({ shards }: ConversionPlan): Map<string, TensorInfo> {
  const all = shards.flatMap(({ steps }) => steps.flatMap(outputTensors))
  const tensors = new Map(all.map((tensor) => [tensor.name, tensor]))
  expect(tensors.size, 'no name twice').toBe(all.length)
  return tensors
}

describe.each(mixes)('planConversion with %o', (mix) => {
  it.each(['yarn-fused-bf16', 'per-expert-f32', 'bias-sharded', 'odd-shapes-f16', 'deepseek-no-q-lora', 'deepseek-v3'])(
    'makes of %s a checkpoint whose config and tensors agree',
    async (name) => {
      const { config, tensors } = await golden(name)
      const plan = planConversion(config, tensors, mix, 2 * GIB)
      const quantization = parseQuantization({ quantization_config: plan.quantizationConfig })
      const result = tensorsOf(plan)
      expect(() => layoutModel(config, result, quantization)).not.toThrow()
      const steps = plan.shards.flatMap((shard) => shard.steps)
      const named = steps.map((step) =>
        step.kind === 'quantize' ? step.module : step.tensor.name.replace(/\.weight$/, ''),
      )
      expect(named.map((module) => quantization?.schemeOf(module)?.kind ?? null)).toEqual(
        steps.map((step) => (step.kind === 'quantize' ? `int${step.format.bits}` : null)),
      )
      const copied = steps.flatMap((step) => (step.kind === 'copy' ? [step.tensor] : []))
      expect(copied).toEqual(copied.map(({ name: tensor }) => tensors.get(tensor)))
      const quantized = [...result.keys()].filter((tensor) => tensor.endsWith('.weight_packed'))
      expect(quantized.some((tensor) => !/\.experts\.\d+\./.test(tensor))).toBe(mix.rest === 'int8')
    },
  )

  it("gives A.X K1's tensors as its shape in this mix has them, from fused and from single experts", () => {
    const config = preset('axk1')
    const wanted = checkpointShape(config, { ...mix, layout: 'per-expert' }).tensors
    for (const layout of ['fused', 'per-expert'] as const) {
      const source = checkpointShape(config, { experts: 'bf16', rest: 'bf16', group: 32, layout }).tensors
      const plan = planConversion(config, source, mix, 2 * GIB)
      expect(tensorsOf(plan)).toEqual(wanted)
      expect(
        Math.max(...plan.shards.filter(({ steps }) => steps.length > 1).map(({ dataBytes }) => dataBytes)),
      ).toBeLessThan(2 * GIB)
      const sourceBytes = [...source.values()].reduce((sum, { byteLength }) => sum + byteLength, 0)
      expect(plan.shards.reduce((sum, shard) => sum + shard.sourceBytes, 0)).toBe(sourceBytes)
    }
  })
})

describe('planConversion', () => {
  const [mix = { experts: 'int4', rest: 'bf16', group: 32 }] = mixes

  it('takes gate and up of expert e from its rows of the fused tensor', async () => {
    const { config, tensors } = await golden('yarn-fused-bf16')
    const plan = planConversion(config, tensors, mix, 2 * GIB)
    const width = config.moeIntermediateSize
    const rowsOf = (module: string) => {
      const step = plan.shards
        .flatMap(({ steps }) => steps)
        .find((one) => one.kind === 'quantize' && one.module === module)
      return step?.kind === 'quantize' ? step.source : null
    }
    const experts = 'model.layers.2.mlp.experts'
    const common = { type: 'bf16', tensor: `${experts}.gate_up_proj`, rowCount: width, columnCount: config.hiddenSize }
    expect(rowsOf(`${experts}.5.gate_proj`)).toEqual({ ...common, rowStart: 10 * width })
    expect(rowsOf(`${experts}.5.up_proj`)).toEqual({ ...common, rowStart: 11 * width })
    expect(rowsOf(`${experts}.5.down_proj`)).toEqual({
      type: 'bf16',
      tensor: `${experts}.down_proj`,
      rowStart: 5 * config.hiddenSize,
      rowCount: config.hiddenSize,
      columnCount: width,
    })
  })

  it('splits a fused gate and up of the shared experts, too', async () => {
    const { config, tensors } = await golden('yarn-fused-bf16')
    const shared = 'model.layers.1.mlp.shared_experts'
    const gate = tensors.get(`${shared}.gate_proj.weight`)
    const fused = new Map(tensors)
    if (gate === undefined) throw new Error('There is no shared expert')
    fused.delete(`${shared}.gate_proj.weight`)
    fused.delete(`${shared}.up_proj.weight`)
    const [rows = 0, columns = 0] = gate.shape
    const name = `${shared}.gate_up_proj.weight`
    fused.set(name, { ...gate, name, shape: [2 * rows, columns], byteLength: 2 * gate.byteLength })
    const whole = { experts: 'int8', rest: 'int8', group: 32 } as const
    const steps = planConversion(config, fused, whole, 2 * GIB).shards.flatMap((shard) => shard.steps)
    const up = steps.find((step) => step.kind === 'quantize' && step.module === `${shared}.up_proj`)
    expect(up).toMatchObject({ source: { tensor: name, rowStart: rows, rowCount: rows } })
  })

  it('leaves layers that the model does not run as they are, and tells readers so', async () => {
    const { config, tensors } = await golden('per-expert-f32')
    const extra = `model.layers.${config.layerCount}.mlp.experts.0.up_proj.weight`
    const type = 'bf16'
    const withExtra = new Map(tensors).set(extra, { name: extra, type, shape: [32, 64], byteLength: 4096 })
    const plan = planConversion(config, withExtra, mix, 2 * GIB)
    expect(tensorsOf(plan).get(extra)).toEqual(withExtra.get(extra))
    const quantization = parseQuantization({ quantization_config: plan.quantizationConfig })
    expect(quantization?.schemeOf(extra.replace('.weight', ''))).toBeNull()
  })

  it('refuses by name what is missing, misshapen or not of floats', async () => {
    const { config, tensors } = await golden('per-expert-f32')
    const name = 'model.layers.1.mlp.experts.3.up_proj.weight'
    const good = tensors.get(name)
    if (good === undefined) throw new Error(`There is no ${name}`)
    const cases: [change: TensorInfo | null, message: RegExp][] = [
      [null, /experts\.3\.up_proj\.weight: the checkpoint has no such tensor/],
      [{ ...good, type: 'i8' }, /experts\.3\.up_proj\.weight: stored type i8: only f32, f16 and bf16/],
      [{ ...good, shape: [32, 65] }, /experts\.3\.up_proj\.weight: its shape does not fit config\.json/],
      [{ ...good, shape: [32] }, /experts\.3\.up_proj\.weight: its shape \[32\] does not fit config\.json/],
    ]
    for (const [change, message] of cases) {
      const changed = new Map(tensors)
      if (change === null) changed.delete(name)
      else changed.set(name, change)
      expect(() => planConversion(config, changed, mix, 2 * GIB)).toThrow(message)
    }
  })

  it('fills shards in order up to their size, and gives a larger tensor one of its own', async () => {
    const { config, tensors } = await golden('yarn-fused-bf16')
    const largest = 512 * 64 * 2 // embedding and head
    const { shards } = planConversion(config, tensors, mix, largest / 2)
    expect(shards.map(({ file }) => file)).toEqual(
      shards.map(
        (_, i) => `model-${String(i + 1).padStart(5, '0')}-of-${String(shards.length).padStart(5, '0')}.safetensors`,
      ),
    )
    const large = shards.filter(({ dataBytes }) => dataBytes > largest / 2)
    expect(large.map(({ steps }) => steps.map((step) => step.kind === 'copy' && step.tensor.name))).toEqual([
      ['model.embed_tokens.weight'],
      ['lm_head.weight'],
    ])
  })
})
