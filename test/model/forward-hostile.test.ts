/**
 * What must change no bit of the forward pass — leftovers in memory, a broken neighbour — and what must fail it loudly.
 *
 * Memory is poisoned, and the device broken, where WebGPU is called; the Runner is the serving one.
 */
import assert from 'node:assert/strict'
import { cp, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { BlockId, SamplerRow, SequenceRows } from '../../gpu-worker/engine/batch.ts'
import type { StepResult } from '../../gpu-worker/engine/runner.ts'
import { CheckpointError } from '../../gpu-worker/model/checkpoint-error.ts'
import { loadRunner, type LoadedRunner } from '../../gpu-worker/model/load-runner.ts'
import type { Profile } from '../../gpu-worker/model/profile.ts'
import { readSafetensors, writeSafetensors, type TensorData } from '../../gpu-worker/model/safetensors.ts'
import { bits } from '../fixtures/numbers.ts'

const goldens = join(import.meta.dirname, '../goldens')
const golden = join(goldens, 'yarn-fused-bf16')
const weights = 'model.safetensors'
const NAN_WORD = 0x7fc00001

/** Devices opened since the test began; every new buffer of theirs holds `word` when `word` is set. */
const opened = new Set<GPUDevice>()
let word: number | null = null
const close: (() => Promise<void>)[] = []
// oxlint-disable-next-line typescript/unbound-method -- called on a device each time
const { createBuffer } = GPUDevice.prototype

beforeEach(() => {
  GPUDevice.prototype.createBuffer = function (descriptor: GPUBufferDescriptor): GPUBuffer {
    opened.add(this)
    const buffer = createBuffer.call(this, descriptor)
    const isWritable = (descriptor.usage & GPUBufferUsage.STORAGE) !== 0
    if (word !== null && isWritable) this.queue.writeBuffer(buffer, 0, new Uint32Array(descriptor.size / 4).fill(word))
    return buffer
  }
})
afterEach(async () => {
  GPUDevice.prototype.createBuffer = createBuffer
  opened.clear()
  word = null
  for (const each of close.splice(0)) await each()
})

async function load(checkpoint = golden, profile: Profile = 'exact'): Promise<LoadedRunner> {
  const loaded = await loadRunner({ checkpoint, profile, sequencesMax: 4, rowsMax: 40, blockCount: 16 })
  close.push(() => loaded.runner.close())
  return loaded
}

const greedy: SamplerRow = { temperature: 0, topK: 0, topP: 1, minP: 0, seed: [1, 2], index: 0 }

function prompt(count: number, first: number, sampler: SamplerRow | null = greedy): SequenceRows {
  const blocks = [0, 1].map((i) => ((first * 2 + i) % 16) as BlockId)
  return { tokenIds: Array.from({ length: count }, (_, i) => (i * 37 + first * 11) % 380), start: 0, blocks, sampler }
}

/** Tokens and logit bits of some steps: one row, three, four, a block's edge, decode beside prefill. */
async function answers({ runner }: LoadedRunner): Promise<unknown[]> {
  const steps: SequenceRows[][] = [
    [prompt(1, 0)],
    [prompt(3, 1)],
    [prompt(31, 2), prompt(5, 3)],
    [{ ...prompt(33, 2), tokenIds: [7, 8], start: 31 }, prompt(1, 4), { ...prompt(6, 3), tokenIds: [9], start: 5 }],
  ]
  const all: unknown[] = []
  for (const sequences of steps) {
    const { sampled, logits } = await runner.run({ sequences, capture: { logits: 'all', experts: false } })
    assert(logits !== undefined)
    all.push(sampled, bits(logits))
  }
  return all
}

/** Sizes that are multiples of everything, sizes that leave padding everywhere, and rows of values, scales and zero points. */
describe.each(['yarn-fused-bf16', 'odd-shapes-f16', 'int4-zero-points'])('memory of %s that is not zero', (name) => {
  it('changes no bit: NaN, infinity or one in every word', async () => {
    const clean = await answers(await load(join(goldens, name)))
    for (const fill of [NAN_WORD, 0x7f800000, 0x3f800000]) {
      word = fill
      expect(await answers(await load(join(goldens, name)))).toEqual(clean)
    }
    expect(opened.size).toBe(4)
  })
})

describe('a checkpoint with one broken value', () => {
  let dir = ''
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'axle-hostile-'))
    await cp(golden, dir, { recursive: true })
  })
  afterEach(() => rm(dir, { recursive: true }))

  it('reports a NaN weight by its tensor, fails the sequences that touch it, and changes no bit of the others', async () => {
    const token = 499
    await rewrite(dir, (tensor) => {
      if (tensor.name !== 'model.embed_tokens.weight') return tensor
      const row = tensor.data.byteLength / (tensor.shape[0] ?? 1)
      tensor.data.fill(0xff, token * row, (token + 1) * row)
      return tensor
    })
    const loaded = await load(dir)
    expect(loaded.notFinite).toEqual(new Map([['model.embed_tokens.weight', loaded.config.hiddenSize]]))
    const touched: SequenceRows = { ...prompt(2, 5), tokenIds: [3, token] }
    const { sampled: alone } = await loaded.runner.run({ sequences: [prompt(9, 1)] })
    const { sampled } = await loaded.runner.run({ sequences: [touched, prompt(9, 1)] })
    expect(sampled).toEqual([{ kind: 'not-finite' }, ...alone])
  })

  it('fails in kv16 the sequences whose keys f16 does not reach, and changes no bit of the others', async () => {
    // Only this token's first value is not 0: its rope key at layer 0 is √64 · 30,000 · the norm's weight.
    const token = 499
    const [one, many] = [0x3f80, 0x46ea]
    await rewrite(dir, (tensor) => {
      const words = new Uint16Array(tensor.data.buffer, tensor.data.byteOffset, tensor.data.byteLength / 2)
      const columnCount = tensor.shape[1] ?? 1
      if (tensor.name === 'model.embed_tokens.weight') {
        for (let at = 0; at < words.length; at += columnCount) words[at] = 0
        words.fill(0, token * columnCount, (token + 1) * columnCount)
        words[token * columnCount] = one
      }
      if (tensor.name === 'model.layers.0.input_layernorm.weight') words[0] = one
      const ropeStart = 32
      if (tensor.name === 'model.layers.0.self_attn.kv_a_proj_with_mqa.weight') {
        for (let at = ropeStart * columnCount; at < words.length; at += columnCount) words[at] = many
      }
      return tensor
    })
    const touched: SequenceRows = { ...prompt(2, 5), tokenIds: [3, token] }
    const other = prompt(9, 1)
    const capture = { logits: 'all', experts: false } as const
    const exact = await load(dir)
    expect((await exact.runner.run({ sequences: [touched] })).sampled).toMatchObject([{ kind: 'token' }])
    const { runner, config } = await load(dir, 'kv16')
    const alone = await runner.run({ sequences: [other], capture })
    const beside = await runner.run({ sequences: [touched, other], capture })
    expect(beside.sampled).toEqual([{ kind: 'not-finite' }, ...alone.sampled])
    assert(alone.logits !== undefined && beside.logits !== undefined)
    expect(bits(beside.logits.subarray(2 * config.vocabSize))).toEqual(bits(alone.logits))
  })

  it.each([
    ['a missing tensor', 'model.layers.1.mlp.experts.down_proj', null],
    ['a wrong shape', 'model.layers.1.self_attn.o_proj.weight', [1, 2]],
    ['a wrong norm', 'model.norm.weight', [3]],
  ])('is refused for %s by its name', async (_, name, shape) => {
    await rewrite(dir, (tensor) => {
      if (tensor.name !== name) return tensor
      return shape === null ? null : { ...tensor, shape, data: new Uint8Array(2 * shape.reduce((a, b) => a * b)) }
    })
    const opening = load(dir)
    await expect(opening).rejects.toThrow(CheckpointError)
    await expect(opening).rejects.toThrow(name)
  })
})

it('memory for the cache that cannot be is refused with what would fit', async () => {
  const none = loadRunner({ checkpoint: golden, kvBytesMax: 1 })
  await expect(none).rejects.toMatchObject({
    kind: 'limit',
    message: expect.stringMatching(/does not fit in 1 B: the least is \d+ bytes, for 32 tokens/),
  })
  const most = loadRunner({ checkpoint: golden, blockCount: 17, bindingBytesMax: 64 * 1024 })
  await expect(most).rejects.toMatchObject({ kind: 'limit', message: expect.stringMatching(/one binding holds \d+,/) })
})

describe('a step', () => {
  it.each([
    ['device-lost', (device: GPUDevice) => device.destroy()],
    ['uncaptured', breakRule],
  ])('in which the device breaks (%s) rejects, and so does every later one', async (kind, breakDevice) => {
    const { runner } = await load()
    const [device] = opened
    assert(device !== undefined)
    const running: Promise<StepResult> = runner.run({ sequences: [prompt(30, 1)] })
    breakDevice(device)
    await expect(running).rejects.toMatchObject({ name: 'GpuError', kind })
    await expect(runner.run({ sequences: [prompt(1, 1)] })).rejects.toMatchObject({ kind })
  })

  it('refuses a sampler field out of range', async () => {
    const { runner } = await load()
    const wrong: Partial<SamplerRow>[] = [
      { temperature: -1 },
      { temperature: NaN },
      { topK: -1 },
      { topK: 1.5 },
      { topP: NaN },
      { minP: 1.01 },
      { seed: [-1, 0] },
      { index: 2 ** 32 },
    ]
    for (const fields of wrong) {
      const running = runner.run({ sequences: [prompt(1, 0, { ...greedy, ...fields })] })
      await expect(running).rejects.toThrow(/sampler field/)
    }
  })
})

function breakRule(device: GPUDevice): void {
  const small = createBuffer.call(device, { size: 16, usage: GPUBufferUsage.COPY_DST })
  device.queue.writeBuffer(small, 16, new Uint32Array(4))
}

/** Writes the folder's weights anew, each tensor changed or, where `change` gives null, left out. */
async function rewrite(dir: string, change: (tensor: TensorData) => TensorData | null): Promise<void> {
  const file = await readSafetensors(join(golden, weights))
  const kept: TensorData[] = []
  for (const { name, type, shape } of file.tensors.values()) {
    const tensor = change({ name, type, shape, data: await file.read(name) })
    if (tensor !== null) kept.push(tensor)
  }
  await file.close()
  await writeSafetensors(join(dir, weights), kept)
}
