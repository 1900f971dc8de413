/** One model stored in two ways computes the same bits: layouts, names and exact widenings are nothing but storage. */
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { BlockId } from '../../gpu-worker/engine/batch.ts'
import { loadRunner } from '../../gpu-worker/model/load-runner.ts'
import { readSafetensors, writeSafetensors, type TensorData } from '../../gpu-worker/model/safetensors.ts'
import { bits } from '../fixtures/numbers.ts'

type Stored = Map<string, TensorData>

let root = ''
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'axle-twins-'))
})
afterAll(() => rm(root, { recursive: true }))

async function logitsOf(dir: string): Promise<unknown> {
  const { runner } = await loadRunner({ checkpoint: dir, sequencesMax: 1, rowsMax: 24, blockCount: 1 })
  try {
    const tokenIds = Array.from({ length: 20 }, (_, i) => (i * 37 + 5) % 300)
    const sequences = [{ tokenIds, start: 0, blocks: [0 as BlockId], sampler: null }]
    const { logits, experts } = await runner.run({ sequences, capture: { logits: 'all', experts: true } })
    return { logits: bits(logits ?? new Float32Array()), experts }
  } finally {
    await runner.close()
  }
}

/** A golden stored in another way. */
async function twin(
  golden: string,
  change: (stored: Stored) => void,
  config: (json: string) => string,
): Promise<string> {
  const dir = await mkdtemp(join(root, 'twin-'))
  await cp(`test/goldens/${golden}/config.json`, join(dir, 'config.json'))
  await writeFile(join(dir, 'config.json'), config(await readFile(join(dir, 'config.json'), 'utf8')))
  const file = await readSafetensors(`test/goldens/${golden}/model.safetensors`)
  const stored: Stored = new Map()
  for (const { name, type, shape } of file.tensors.values()) {
    stored.set(name, { name, type, shape, data: await file.read(name) })
  }
  await file.close()
  change(stored)
  await writeSafetensors(join(dir, 'model.safetensors'), [...stored.values()])
  return dir
}

function take(stored: Stored, name: string): TensorData {
  const tensor = stored.get(name)
  if (tensor === undefined) throw new RangeError(`No tensor ${name}`)
  stored.delete(name)
  return tensor
}

/** Rows of all, one below the other, under a new name. */
function stackRows(stored: Stored, name: string, parts: readonly TensorData[], shape: readonly number[]): void {
  const type = parts[0]?.type ?? 'f32'
  stored.set(name, { name, type, shape, data: Buffer.concat(parts.map(({ data }) => data)) })
}

/** The `at`th of `count` equal pieces of a tensor's bytes. */
function piece({ data }: TensorData, count: number, at: number): Uint8Array {
  const bytes = data.byteLength / count
  return data.subarray(at * bytes, (at + 1) * bytes)
}

function splitFused(stored: Stored, layers: readonly number[]): void {
  for (const layer of layers) {
    const prefix = `model.layers.${layer}.mlp.experts`
    const gateUp = take(stored, `${prefix}.gate_up_proj`)
    const down = take(stored, `${prefix}.down_proj`)
    const [experts = 0, rows = 0, hidden = 0] = gateUp.shape
    for (let expert = 0; expert < experts; expert++) {
      const parts = { gate_proj: 2 * expert, up_proj: 2 * expert + 1 }
      for (const [projection, at] of Object.entries(parts)) {
        const name = `${prefix}.${expert}.${projection}.weight`
        stored.set(name, { ...gateUp, name, shape: [rows / 2, hidden], data: piece(gateUp, 2 * experts, at) })
      }
      const name = `${prefix}.${expert}.down_proj.weight`
      stored.set(name, { ...down, name, shape: down.shape.slice(1), data: piece(down, experts, expert) })
    }
  }
}

function fuseFp8(stored: Stored): void {
  for (const layer of [1, 2, 3]) {
    const prefix = `model.layers.${layer}.mlp.experts`
    for (const [suffix, fused] of [
      ['weight', ''],
      ['weight_scale_inv', '_scale_inv'],
    ]) {
      const each = Array.from({ length: 16 }, (_, expert) => ({
        gateUp: ['gate_proj', 'up_proj'].map((name) => take(stored, `${prefix}.${expert}.${name}.${suffix}`)),
        down: take(stored, `${prefix}.${expert}.down_proj.${suffix}`),
      }))
      const [rows = 0, columns = 0] = each[0]?.gateUp[0]?.shape ?? []
      stackRows(
        stored,
        `${prefix}.gate_up_proj${fused}`,
        each.flatMap(({ gateUp }) => gateUp),
        [16, 2 * rows, columns],
      )
      stackRows(
        stored,
        `${prefix}.down_proj${fused}`,
        each.map(({ down }) => down),
        [16, ...(each[0]?.down.shape ?? [])],
      )
    }
  }
}

/** Packed gate_proj and up_proj become gate_up_proj: groups lie along the row, so that rows stack. */
function fusePacked(stored: Stored, prefix: string): void {
  for (const suffix of ['weight_packed', 'weight_scale']) {
    const parts = ['gate_proj', 'up_proj'].map((name) => take(stored, `${prefix}.${name}.${suffix}`))
    const [rows = 0, columns = 0] = parts[0]?.shape ?? []
    stackRows(stored, `${prefix}.gate_up_proj.${suffix}`, parts, [2 * rows, columns])
  }
  for (const name of ['gate_proj', 'up_proj']) take(stored, `${prefix}.${name}.weight_shape`)
}

/** bf16 as f32: exact. */
function widen(stored: Stored, name: string): void {
  const { data, ...tensor } = take(stored, name)
  const halves = new Uint16Array(Uint8Array.from(data).buffer)
  stored.set(name, {
    ...tensor,
    type: 'f32',
    data: new Uint8Array(Uint32Array.from(halves, (half) => half << 16).buffer),
  })
}

function flipBit(stored: Stored): void {
  const head = take(stored, 'lm_head.weight')
  const data = Uint8Array.from(head.data)
  data[0] = (data[0] ?? 0) ^ 1
  stored.set(head.name, { ...head, data })
}

const same = (json: string): string => json
const expert = (layer: number, id: number): string => `model.layers.${layer}.mlp.experts.${id}`

describe('a checkpoint in another layout computes the same bits', { timeout: 30_000 }, () => {
  it.each<[what: string, golden: string, change: (stored: Stored) => void, config?: (json: string) => string]>([
    ['experts one by one instead of fused', 'yarn-fused-bf16', (stored) => splitFused(stored, [1, 2, 3])],
    ['experts one by one in a single layer', 'yarn-fused-bf16', (stored) => splitFused(stored, [2])],
    ['fp8 experts fused', 'fp8-blocks', fuseFp8],
    [
      'packed gate_proj and up_proj in one, of dense layer and shared experts',
      'int8-channel',
      (stored) => {
        fusePacked(stored, 'model.layers.0.mlp')
        fusePacked(stored, 'model.layers.1.mlp.shared_experts')
      },
    ],
    [
      'experts of one layer, and rows of one matrix, in several formats',
      'deepseek-v3',
      (stored) => {
        for (const name of ['gate_proj', 'up_proj']) widen(stored, `${expert(1, 3)}.${name}.weight`)
        for (const id of [0, 7, 15]) widen(stored, `${expert(2, id)}.down_proj.weight`)
        for (const name of ['self_attn.q_a_proj', 'mlp.gate', 'input_layernorm'])
          widen(stored, `model.layers.1.${name}.weight`)
      },
    ],
    [
      'the norm after the MLP under its other name, the shared expert as the first of a list',
      'yarn-fused-bf16',
      (stored) => {
        const rename = (from: string, to: string) => stored.set(to, { ...take(stored, from), name: to })
        rename('model.layers.2.post_mlp_layernorm.weight', 'model.layers.2.mlp.post_mlp_layernorm.weight')
        for (const name of ['gate_proj', 'up_proj', 'down_proj']) {
          rename(
            `model.layers.2.mlp.shared_experts.${name}.weight`,
            `model.layers.2.mlp.shared_experts.0.${name}.weight`,
          )
        }
      },
    ],
    [
      'a tied head that alone is stored',
      'int4-zero-points',
      (stored) => {
        take(stored, 'model.embed_tokens.weight')
      },
    ],
    [
      'the older name of quantization_config',
      'int4-experts',
      () => {},
      (json) => json.replace('quantization_', 'compression_'),
    ],
  ])('%s (%s)', async (_what, golden, change, config = same) => {
    const dir = await twin(golden, change, config)
    expect(await logitsOf(dir)).toEqual(await logitsOf(`test/goldens/${golden}`))
  })

  it('and with one bit of one weight flipped other bits: the comparison can fail', async () => {
    const dir = await twin('yarn-fused-bf16', flipBit, same)
    expect(await logitsOf(dir)).not.toEqual(await logitsOf('test/goldens/yarn-fused-bf16'))
  })
})
