/**
 * What a conversion wrote, as the engine reads it: the same bits as from a checkpoint that stores the restored weights in f32.
 *
 * The restoring here is the obvious one, and shares nothing with quantiser or kernels but the format.
 */
import { mkdtemp, cp, mkdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { convertCheckpoint } from '../../../cli/convert/convert-checkpoint.ts'
import type { ConversionMix } from '../../../cli/convert/conversion-plan.ts'
import { bf16Value } from '../../../cli/convert/bfloat16.ts'
import type { BlockId } from '../../../gpu-worker/engine/batch.ts'
import { openCheckpoint, type Checkpoint } from '../../../gpu-worker/model/checkpoint.ts'
import { loadRunner } from '../../../gpu-worker/model/load-runner.ts'
import { writeSafetensors, type TensorData } from '../../../gpu-worker/model/safetensors.ts'
import { bits } from '../../fixtures/numbers.ts'

const goldens = join(import.meta.dirname, '../../goldens')
const ids = [3, 141, 59, 26, 5, 358, 97, 9, 323, 84, 62, 64, 33, 83, 279, 50, 288, 419]

let dir = ''
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'axle-round-trip-'))
})
afterAll(() => rm(dir, { recursive: true }))

/** ŵ = q · scale in f32, [rows, columns]. */
async function restored(checkpoint: Checkpoint, module: string, group: number): Promise<TensorData> {
  const [packed, scale, shape] = await Promise.all(
    ['packed', 'scale', 'shape'].map((part) => checkpoint.read(`${module}.weight_${part}`)),
  )
  const [rows = 0, columns = 0] = [...new BigInt64Array(shape?.buffer ?? new ArrayBuffer(0))].map(Number)
  const words = new Uint32Array(packed?.buffer ?? new ArrayBuffer(0))
  const scales = new Uint16Array(scale?.buffer ?? new ArrayBuffer(0))
  const wordsPerRow = words.length / rows
  const valueBits = wordsPerRow === Math.ceil(columns / 8) ? 4 : 8
  const values = Float32Array.from({ length: rows * columns }, (_, i) => {
    const [row, column] = [Math.floor(i / columns), i % columns]
    const bit = column * valueBits
    const word = words[row * wordsPerRow + Math.floor(bit / 32)] ?? NaN
    const code = ((word >>> (bit % 32)) & (2 ** valueBits - 1)) - 2 ** (valueBits - 1)
    return code * bf16Value(scales[row * Math.ceil(columns / group) + Math.floor(column / group)] ?? NaN)
  })
  return { name: `${module}.weight`, type: 'f32', shape: [rows, columns], data: new Uint8Array(values.buffer) }
}

async function writeRestored(from: string, source: string, to: string, group: number): Promise<void> {
  const checkpoint = await openCheckpoint(from)
  const tensors: TensorData[] = []
  for (const info of checkpoint.tensors.values()) {
    const module = /^(.+)\.weight_packed$/.exec(info.name)?.[1]
    if (module !== undefined) tensors.push(await restored(checkpoint, module, group))
    else if (!/\.weight_(scale|shape)$/.test(info.name)) {
      tensors.push({ name: info.name, type: info.type, shape: info.shape, data: await checkpoint.read(info.name) })
    }
  }
  await checkpoint.close()
  await mkdir(to)
  await cp(join(source, 'config.json'), join(to, 'config.json'))
  await writeSafetensors(join(to, 'model.safetensors'), tensors)
}

async function logitBits(checkpoint: string): Promise<Uint32Array> {
  const { runner } = await loadRunner({ checkpoint, sequencesMax: 1, rowsMax: 32 })
  try {
    const sequences = [{ tokenIds: ids, start: 0, blocks: [0 as BlockId], sampler: null }] // a block of the pool
    const { logits } = await runner.run({ sequences, capture: { logits: 'all', experts: false } })
    return bits(logits ?? new Float32Array(0))
  } finally {
    await runner.close()
  }
}

describe('a converted checkpoint', { timeout: 60_000 }, () => {
  const cases: [golden: string, mix: ConversionMix][] = [
    ['yarn-fused-bf16', { experts: 'int4', rest: 'bf16', group: 32 }],
    ['deepseek-no-q-lora', { experts: 'int4', rest: 'int8', group: 64 }],
    ['odd-shapes-f16', { experts: 'int4', rest: 'int8', group: 32 }],
    ['per-expert-f32', { experts: 'int8', rest: 'int8', group: 128 }],
  ]
  it.each(cases)('of %s gives the logits of its restored weights, bit for bit: %o', async (golden, mix) => {
    const source = join(goldens, golden)
    const [outDir, plain] = [join(dir, golden), join(dir, `${golden}-restored`)]
    await convertCheckpoint({ sourceDir: source, outDir, mix, shardBytesMax: 100_000, threadCount: 2 }, () => {})
    await writeRestored(outDir, source, plain, mix.group)
    const wanted = await logitBits(plain)
    expect(wanted.length).toBeGreaterThan(0)
    expect(Buffer.from((await logitBits(outDir)).buffer).equals(Buffer.from(wanted.buffer))).toBe(true)
  })
})
