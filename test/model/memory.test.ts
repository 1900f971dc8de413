/**
 * The account of memory is what is allocated, to the byte; budgets are kept or refused before anything is allocated.
 *
 * What is really allocated is counted where WebGPU is called.
 */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openDevice } from '../../gpu-worker/gpu/device.ts'
import { parseBytes } from '../../gpu-worker/model/byte-size.ts'
import { openCheckpoint } from '../../gpu-worker/model/checkpoint.ts'
import { layoutModel } from '../../gpu-worker/model/layout.ts'
import { loadRunner, type LoadedRunner, type LoadOptions } from '../../gpu-worker/model/load-runner.ts'
import { fitMemory, MemoryRefusal, peakBytes } from '../../gpu-worker/model/memory-fit.ts'
import { memoryTable } from '../../gpu-worker/model/memory-table.ts'
import { cacheBytesPerToken, memoryOf, stepBytes, type ServedLayers } from '../../gpu-worker/model/memory.ts'
import { preset } from '../../gpu-worker/model/presets.ts'

const root = join(import.meta.dirname, '../..')
const tiny = join(root, 'models/axk1-tiny')
const goldens = join(root, 'test/goldens')
const names = readdirSync(goldens, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => name)

/** Bytes of all buffers alive, and the most there ever were. */
let alive = 0
let most = 0
const close: (() => Promise<void>)[] = []
// oxlint-disable-next-line typescript/unbound-method -- called on a device each time
const { createBuffer } = GPUDevice.prototype

beforeEach(() => {
  alive = 0
  most = 0
  GPUDevice.prototype.createBuffer = function (descriptor: GPUBufferDescriptor): GPUBuffer {
    const buffer = createBuffer.call(this, descriptor)
    const destroy = buffer.destroy.bind(buffer)
    buffer.destroy = () => {
      alive -= descriptor.size
      return destroy()
    }
    alive += descriptor.size
    most = Math.max(most, alive)
    return buffer
  }
})
afterEach(async () => {
  for (const each of close.splice(0)) await each()
  GPUDevice.prototype.createBuffer = createBuffer
})

async function load(options: LoadOptions): Promise<LoadedRunner> {
  const loaded = await loadRunner(options)
  close.push(() => loaded.runner.close())
  return loaded
}

describe('the account is what is allocated', () => {
  const sizes: Partial<LoadOptions> = { sequencesMax: 5, rowsMax: 30, blockCount: 9 }
  const cases: [string, LoadOptions][] = [
    ['axk1-tiny as served', { checkpoint: tiny }],
    ['axk1-tiny in kv16', { checkpoint: tiny, profile: 'kv16', sequencesMax: 3 }],
    ['axk1-tiny in small bindings', { checkpoint: tiny, ...sizes, bindingBytesMax: 132 * 1024 }],
    ['axk1-tiny with slots for half of its experts', { checkpoint: tiny, ...sizes, expertSlots: 12 }],
    ['its first layer', { checkpoint: tiny, ...sizes, layers: { start: 0, end: 1 } }],
    ['its middle layers', { checkpoint: tiny, ...sizes, layers: { start: 2, end: 4 } }],
    ['its last layers', { checkpoint: tiny, ...sizes, layers: { start: 5, end: 6 } }],
    ...names.map((name): [string, LoadOptions] => [name, { checkpoint: join(goldens, name), ...sizes }]),
  ]

  it.each(cases)('%s', async (_, options) => {
    const { memory, runner, weightBytes, kvBytes } = await load(options)
    expect(alive).toBe(memory.servingBytes + memory.hostBytes)
    expect(runner.allocatedBytes).toBe(memory.servingBytes)
    expect(weightBytes).toBe(memory.weightBytes)
    expect(Object.values(memory.weights).reduce((sum, bytes) => sum + bytes, 0)).toBe(memory.weightBytes)
    expect(kvBytes).toBe(memory.cache.bytes)
    expect(most).toBeLessThanOrEqual(peakBytes(memory) + memory.hostBytes)
  })
})

describe('a budget', () => {
  const small: LoadOptions = { checkpoint: tiny, sequencesMax: 4, rowsMax: 32 }

  it('for everything gives the cache what the rest leaves, and is kept while loading too', async () => {
    const least = (await load({ ...small, blockCount: 1 })).memory
    const spare = 10 * 32 * least.cache.bytesPerToken
    await close.pop()?.()
    const gpuBytesMax = peakBytes(least) + spare
    most = alive
    const { memory } = await load({ ...small, gpuBytesMax })
    // Ten blocks more, but for what their tables take.
    expect(memory.cache.blockCount).toBeGreaterThanOrEqual(10)
    expect(memory.cache.blockCount).toBeLessThanOrEqual(11)
    expect(peakBytes(memory)).toBeLessThanOrEqual(gpuBytesMax)
    expect(most).toBeLessThanOrEqual(gpuBytesMax)
  })

  it('that holds everything is not used up: no more blocks than all sequences can fill', async () => {
    const { memory, config } = await load({ ...small, gpuBytesMax: 2 ** 40 })
    expect(memory.cache.tokens).toBe(4 * config.contextTokensMax)
  })

  it('for the cache bounds it within the other', async () => {
    const { memory } = await load({ ...small, gpuBytesMax: 2 ** 40, kvBytesMax: 1_000_000 })
    expect(memory.cache.bytes).toBeLessThanOrEqual(1_000_000)
    expect(memory.cache.bytes + 32 * memory.cache.bytesPerToken).toBeGreaterThan(1_000_000)
  })

  it('that is too small is refused before any of the model is allocated, with the account and what would help', async () => {
    const served = await servedLayers(tiny)
    const least = peakBytes(fitMemory(served, { rowsMax: 32, sequencesMax: 16, blockCount: 1 }).account)
    const loading = loadRunner({ ...small, sequencesMax: 64, gpuBytesMax: least })
    await expect(loading).rejects.toMatchObject({
      name: 'GpuError',
      kind: 'limit',
      message: expect.stringMatching(/^The model does not fit in \d[^]*weights[^]*KV cache[^]*in all/),
      wayOut: expect.stringMatching(/AXLE_SLOTS=16;.*AXLE_GPU_BYTES=\d+MiB or more/),
    })
    // Opening a device takes some KiB, for a question about denormals, and gives them back.
    expect(most).toBeLessThan(32_768)
  })

  it('of the host that does not hold the experts that take turns is refused, too', async () => {
    const served = await servedLayers(tiny)
    const experts = memoryOf(served, fitMemory(served, {}).limits).weights.routedExperts
    const half = { ...served, expertSlots: 12 }
    expect(refusalOf(() => fitMemory(half, { hostBytesMax: experts }))).toBeNull()
    expect(refusalOf(() => fitMemory(half, { hostBytesMax: experts - 1 }))?.message).toMatch(/wait in host memory/)
    expect(refusalOf(() => fitMemory(served, { hostBytesMax: 0 }))).toBeNull()
  })

  it('names ways out that work', async () => {
    const served = await servedLayers(tiny)
    const request = { rowsMax: 32, sequencesMax: 64 }
    const wayOutAt = (gpuBytesMax: number): string =>
      refusalOf(() => fitMemory(served, { ...request, gpuBytesMax }))?.wayOut ?? ''
    const full = peakBytes(fitMemory(served, { ...request, blockCount: 1 }).account)
    const slots = [1, 5e4, 1e5, 2e5].map((less) => ({
      gpuBytesMax: full - less,
      sequencesMax: Number(/AXLE_SLOTS=(\d+)/.exec(wayOutAt(full - less))?.[1]),
    }))
    for (const way of slots) expect(refusalOf(() => fitMemory(served, { ...request, ...way }))).toBeNull()
    // In f16 a block is 18 KiB less.
    expect(wayOutAt(full - 18 * 1024)).toContain('AXLE_PROFILE=kv16')
    expect(wayOutAt(full - 18 * 1024 - 1)).not.toContain('kv16')
    // Beside the smallest cache, with most experts in host memory.
    const withSlots = peakBytes(fitMemory({ ...served, expertSlots: 3 }, { ...request, blockCount: 1 }).account)
    expect(wayOutAt(withSlots)).toContain('AXLE_EXPERT_SLOTS=3 (of 24: ')
    expect(wayOutAt(withSlots - 1)).toContain('AXLE_EXPERT_SLOTS=1 ')
    const [, least = ''] = /^What helps: AXLE_GPU_BYTES=(\d+MiB) or more/.exec(wayOutAt(1)) ?? []
    expect(refusalOf(() => fitMemory(served, { ...request, gpuBytesMax: parseBytes(least) ?? 0 }))).toBeNull()
  })
})

it('an account without a GPU is the one that loading makes', async () => {
  const { memory, runner } = await load({ checkpoint: tiny, profile: 'kv16', sequencesMax: 7 })
  const served = { ...(await servedLayers(tiny)), profile: 'kv16' as const }
  expect(memoryOf(served, runner.limits)).toEqual(memory)
  const whole = { start: 0, end: served.config.layerCount }
  expect(stepBytes(served.config, whole, runner.limits)).toBeLessThanOrEqual(
    memory.activationBytes + memory.readbackBytes,
  )
})

it('A.X K1 takes 70,272 bytes of cache a token in kv16, twice that in exact', () => {
  const config = preset('axk1')
  const whole = { start: 0, end: config.layerCount }
  expect(cacheBytesPerToken(config, 'kv16', whole)).toBe(70_272)
  expect(cacheBytesPerToken(config, 'exact', whole)).toBe(140_544)
})

it('a step has rows for every decode and for a chunk of prompts as large beside them', async () => {
  const served = await servedLayers(tiny)
  const rowsMax = (sequencesMax: number): number => fitMemory(served, { sequencesMax }).limits.rowsMax
  expect([1, 32, 128, 129, 512].map(rowsMax)).toEqual([256, 256, 256, 260, 1024])
})

it('the table says what goes where and how long a sequence can get', async () => {
  const served = await servedLayers(tiny)
  const { account } = fitMemory(served, {
    sequencesMax: 4,
    kvBytesMax: 40 * 32 * cacheBytesPerToken(served.config, 'exact', { start: 0, end: 6 }),
  })
  const inTurns = { ...served, expertSlots: 6 }
  expect(memoryTable(fitMemory(inTurns, { sequencesMax: 4 }).account, inTurns)).toMatch(
    /in all[^]*on the host +\d\S+ MiB {2}all routed experts/,
  )
  expect(memoryTable(account, served)).not.toContain('on the host')
  expect(memoryTable(account, served)).toMatch(
    /weights.+routed experts[^]*1,280 tokens of 1,152 B \(exact\); a sequence up to 1,280[^]*in all/,
  )
})

/** As loading on this machine's adapter would see them. */
async function servedLayers(dir: string): Promise<ServedLayers> {
  const checkpoint = await openCheckpoint(dir)
  const { config, tensors, quantization } = checkpoint
  const layout = layoutModel(config, tensors, quantization)
  await checkpoint.close()
  const gpu = await openDevice()
  const { maxStorageBufferBindingSize, maxBufferSize, minUniformBufferOffsetAlignment } = gpu.limits
  gpu.close()
  const bindingBytesMax = Math.min(maxStorageBufferBindingSize, maxBufferSize)
  const device = { bindingBytesMax, uniformAlignmentBytes: minUniformBufferOffsetAlignment }
  return { config, layout, profile: 'exact', device }
}

function refusalOf(act: () => unknown): MemoryRefusal | null {
  try {
    act()
    return null
  } catch (error) {
    if (error instanceof MemoryRefusal) return error
    throw error
  }
}
