/**
 * A model whose routed experts take turns in fewer slots computes what it computes with all of them resident, bit for bit:
 * logits, tokens, experts. An expert that cannot be brought is an error of the step, never another answer.
 */
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { Engine, type EngineEvent } from '../../gpu-worker/engine/engine.ts'
import type { BlockId, SamplerRow, SequenceRows } from '../../gpu-worker/engine/batch.ts'
import type { Runner } from '../../gpu-worker/engine/runner.ts'
import type { ModelRunner } from '../../gpu-worker/model/forward.ts'
import { loadRunner, type LoadOptions } from '../../gpu-worker/model/load-runner.ts'
import { bits } from '../fixtures/numbers.ts'
import { loadStaged } from '../fixtures/staged-runner.ts'
import { runnerConformance } from '../runner-conformance.ts'

const root = join(import.meta.dirname, '../..')
const tiny: LoadOptions = { checkpoint: join(root, 'models/axk1-tiny'), sequencesMax: 4, rowsMax: 48, blockCount: 16 }
const golden = (name: string): LoadOptions => ({ ...tiny, checkpoint: join(root, 'test/goldens', name) })

runnerConformance('axk1-tiny with slots for half of its experts', async () => {
  const { runner } = await loadRunner({ ...tiny, expertSlots: '50%' })
  return runner
})

const sampled: SamplerRow = { temperature: 1, topK: 0, topP: 1, minP: 0, seed: [5, 9], index: 0 }

function rows(start: number, count: number, first: number, sampler: SamplerRow | null): SequenceRows {
  const blocks = [0, 1, 2].map((i) => ((first * 3 + i) % 16) as BlockId)
  return {
    tokenIds: Array.from({ length: count }, (_, i) => ((start + i) * 37 + first * 11) % 200),
    start,
    blocks,
    sampler,
  }
}

/** Prefill whole, a chunk beside decodes, decodes: of many experts a layer and of few. */
const steps: readonly (readonly SequenceRows[])[] = [
  [rows(0, 40, 0, sampled)],
  [rows(40, 1, 0, { ...sampled, index: 1 }), rows(0, 17, 1, sampled), rows(0, 3, 2, { ...sampled, temperature: 0 })],
  [rows(41, 1, 0, { ...sampled, index: 2 }), rows(17, 1, 1, { ...sampled, index: 1 })],
  [rows(42, 1, 0, { ...sampled, index: 3 })],
]

async function resultsOf(runner: Runner): Promise<unknown[]> {
  const results: unknown[] = []
  for (const sequences of steps) {
    const step = await runner.run({ sequences, capture: { logits: 'all', experts: true } })
    results.push({ ...step, logits: bits(step.logits ?? new Float32Array()) })
  }
  return results
}

/** Of a whole model, and closed. */
async function resultsWith(options: LoadOptions): Promise<unknown[]> {
  const { runner } = await loadRunner(options)
  try {
    return await resultsOf(runner)
  } finally {
    await runner.close()
  }
}

/** Shared experts among the routed ones, apart, or none; fused, apart, packed; int4, fp8, plain. */
const cases = [
  { name: 'int4-experts', slots: [4, 1] },
  { name: 'fp8-blocks', slots: [3, 1] },
  { name: 'fused-shared', slots: [2] },
  { name: 'bias-sharded', slots: [2] },
  { name: 'odd-shapes-f16', slots: [1] },
]

describe('a model whose experts take turns gives the same bits', { timeout: 120_000 }, () => {
  it.each(cases)('$name in $slots slots', async ({ name, slots }) => {
    const whole = await resultsWith(golden(name))
    for (const expertSlots of slots) expect(await resultsWith({ ...golden(name), expertSlots })).toEqual(whole)
  })

  const ways: [string, LoadOptions][] = [
    ['half of the slots', { ...tiny, expertSlots: '50%' }],
    ['fewer slots than a token has experts', { ...tiny, expertSlots: 3 }],
    ['a single slot', { ...tiny, expertSlots: 1 }],
    ['banks of few slots', { ...tiny, expertSlots: 12, bindingBytesMax: 200 * 1024 }],
    ['the shaders for GPUs', { ...tiny, expertSlots: 12, processor: 'gpu' }],
    ['slots for more than all', { ...tiny, expertSlots: 1000 }],
  ]
  let whole: unknown[]
  beforeAll(async () => {
    whole = await resultsWith(tiny)
  })
  it.each(ways)('axk1-tiny, %s', async (_, options) => {
    expect(await resultsWith(options)).toEqual(whole)
  })

  it('axk1-tiny in two stages, each with slots of its own', async () => {
    const runner = await loadStaged({ ...tiny, expertSlots: 5 }, [3], 6)
    try {
      expect(await resultsOf(runner)).toEqual(whole)
    } finally {
      await runner.close()
    }
  })
})

describe('the cache of experts', () => {
  it('brings an expert only where it is missing, and counts', async () => {
    const { runner } = await loadRunner({ ...tiny, expertSlots: 12 })
    try {
      await resultsOf(runner)
      const first = figuresOf(runner)
      expect(first.held).toBeGreaterThan(0)
      expect(first.held).toBeLessThan(first.needed)
      const [step = []] = steps.slice(-1)
      await runner.run({ sequences: step })
      const second = figuresOf(runner)
      // The same row again needs the same experts, which lie where they were.
      expect(second.needed - first.needed).toBe(5 * 4)
      expect(second.held - first.held).toBe(5 * 4)
      expect(second.bytesBrought).toBe(first.bytesBrought)
    } finally {
      await runner.close()
    }
  })

  it('has one step under way at a time', async () => {
    const { runner } = await loadRunner({ ...tiny, expertSlots: 12, stepsInFlight: 2 })
    expect(runner.limits.stepsInFlightMax).toBe(1)
    await runner.close()
  })
})

describe('an expert that cannot be brought', () => {
  // oxlint-disable-next-line typescript/unbound-method -- called on a device each time
  const { createBuffer } = GPUDevice.prototype
  const waiting: GPUBuffer[] = []
  beforeAll(() => {
    GPUDevice.prototype.createBuffer = function (descriptor: GPUBufferDescriptor): GPUBuffer {
      const buffer = createBuffer.call(this, descriptor)
      if (descriptor.label?.startsWith('experts waiting/') === true) waiting.push(buffer)
      return buffer
    }
  })
  afterEach(() => waiting.splice(0))
  afterAll(() => {
    GPUDevice.prototype.createBuffer = createBuffer
  })

  it('fails the step, and with it the engine', async () => {
    const { runner } = await loadRunner({ ...tiny, expertSlots: 12 })
    expect(waiting).toHaveLength(5 * 24)
    for (const buffer of waiting) buffer.destroy()
    await expect(stepOf(runner)).rejects.toMatchObject({ cause: { name: 'GpuError', kind: 'uncaptured' } })
    await runner.close()
  })

  it('is the only thing that fails it', async () => {
    const { runner } = await loadRunner({ ...tiny, expertSlots: 12 })
    expect(await stepOf(runner)).toMatchObject([{ kind: 'start' }, { kind: 'token' }, { kind: 'end' }])
    await runner.close()
  })
})

/** Of an engine with one request. */
function stepOf(runner: Runner): Promise<readonly EngineEvent[]> {
  const engine = new Engine(runner)
  const sampling = { temperature: 0, topK: 0, topP: 1, minP: 0, seed: [0, 0] } as const
  engine.submit({ id: 'one', promptTokenIds: [1, 2, 3], answerTokensMax: 1, sampling, stopTokenIds: [] })
  return engine.step()
}

function figuresOf({ cacheFigures }: ModelRunner): NonNullable<ModelRunner['cacheFigures']> {
  if (cacheFigures === null) throw new Error('Its experts take turns')
  return cacheFigures
}
