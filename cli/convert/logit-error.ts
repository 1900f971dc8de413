/**
 * What a conversion does to the logits: source and result, one after the other, over the same tokens on this machine's GPU.
 *
 * NMSE of a position = Σ (got − wanted)² / Σ wanted² over the vocabulary, in f64; agreement: the highest logit is the same
 * token's. It judges nothing. The source's logits are kept in memory: whoever brings the prompts bounds them.
 */
import { freemem } from 'node:os'
import type { BlockId } from '../../gpu-worker/engine/batch.ts'
import type { Runner } from '../../gpu-worker/engine/runner.ts'
import { openDevice } from '../../gpu-worker/gpu/device.ts'
import { GpuError } from '../../gpu-worker/gpu/gpu-error.ts'
import { BLOCK_TOKENS } from '../../gpu-worker/kernels/step-input.ts'
import { loadRunner } from '../../gpu-worker/model/load-runner.ts'
import type { LogitError } from './conversion-record.ts'
import type { LogitPrompts } from './logit-prompts.ts'

const ROWS_MAX = 256
/** Software adapters take their memory from the machine's. */
const SOFTWARE_ADAPTER = /llvmpipe|lavapipe|swiftshader/i
/** The rest is for the logits, and for whatever else the machine does. */
const FREE_MEMORY_SHARE = 0.7

export type LogitOutcome =
  | { readonly kind: 'measured'; readonly error: LogitError }
  | { readonly kind: 'skipped'; readonly reason: string }

export interface LogitOptions {
  readonly sourceDir: string
  readonly outDir: string
  readonly prompts: LogitPrompts
  /** What may be taken of the GPU's memory; null: what there is. */
  readonly gpuBytesMax: number | null
}

/** What this machine cannot hold is skipped. Throws CheckpointError and every other failure. */
export async function measureLogitError(options: LogitOptions): Promise<LogitOutcome> {
  const { sourceDir, outDir, prompts } = options
  try {
    const gpuBytesMax = options.gpuBytesMax ?? (await memoryOfSoftwareAdapter())
    const wanted = await logitsOf(sourceDir, prompts.prompts, gpuBytesMax)
    const got = await logitsOf(outDir, prompts.prompts, gpuBytesMax)
    const error = compare(prompts.origin, got, wanted)
    const isNumber = [error.nmse, error.medianNmse, error.worstNmse].every((value) => Number.isFinite(value))
    return isNumber ? { kind: 'measured', error } : { kind: 'skipped', reason: 'they are not all numbers, or all zero' }
  } catch (error) {
    if (!(error instanceof GpuError && ['limit', 'memory', 'no-adapter'].includes(error.kind))) throw error
    const [reason = ''] = error.message.split('\n')
    return { kind: 'skipped', reason }
  }
}

/** Infinity where the memory is the GPU's own: it says itself when it is full, where the machine's would just be taken. */
async function memoryOfSoftwareAdapter(): Promise<number> {
  const gpu = await openDevice()
  gpu.close()
  const isSoftware = SOFTWARE_ADAPTER.test(`${gpu.adapter.device} ${gpu.adapter.description}`)
  return isSoftware ? Math.floor(freemem() * FREE_MEMORY_SHARE) : Infinity
}

/** f32 [positions, vocab] of every prompt. */
interface Logits {
  readonly vocabSize: number
  readonly prompts: readonly Float32Array[]
}

async function logitsOf(
  checkpoint: string,
  prompts: readonly (readonly number[])[],
  gpuBytesMax: number,
): Promise<Logits> {
  const longest = Math.max(...prompts.map(({ length }) => length))
  const { runner } = await loadRunner({
    checkpoint,
    sequencesMax: 1,
    rowsMax: ROWS_MAX,
    blockCount: Math.ceil(longest / BLOCK_TOKENS),
    gpuBytesMax,
  })
  try {
    const all: Float32Array[] = []
    for (const prompt of prompts) all.push(await forward(runner, prompt))
    return { vocabSize: runner.limits.vocabSize, prompts: all }
  } finally {
    await runner.close()
  }
}

async function forward(runner: Runner, ids: readonly number[]): Promise<Float32Array> {
  const { rowsMax, vocabSize, blockTokens } = runner.limits
  const logits = new Float32Array(ids.length * vocabSize)
  // Ids 0 … n − 1 are blocks of the pool.
  const blocks = Array.from({ length: Math.ceil(ids.length / blockTokens) }, (_, i) => i as BlockId)
  for (let start = 0; start < ids.length; start += rowsMax) {
    const sequences = [{ tokenIds: ids.slice(start, start + rowsMax), start, blocks, sampler: null }]
    const step = await runner.run({ sequences, capture: { logits: 'all', experts: false } })
    logits.set(step.logits ?? [], start * vocabSize)
  }
  return logits
}

function compare(origin: string, got: Logits, wanted: Logits): LogitError {
  const { vocabSize } = wanted
  const positions: number[] = []
  let [errors, sizes, agreements] = [0, 0, 0]
  for (const [k, expected] of wanted.prompts.entries()) {
    const actual = got.prompts[k] ?? new Float32Array(expected.length).fill(NaN)
    for (let start = 0; start < expected.length; start += vocabSize) {
      const [a, b] = [actual.subarray(start, start + vocabSize), expected.subarray(start, start + vocabSize)]
      const { error, size } = squares(a, b)
      errors += error
      sizes += size
      positions.push(error / size)
      if (top(a) === top(b)) agreements += 1
    }
  }
  const inOrder = positions.toSorted((a, b) => a - b)
  return {
    prompts: origin,
    promptCount: wanted.prompts.length,
    positionCount: positions.length,
    nmse: errors / sizes,
    medianNmse: inOrder[Math.floor(positions.length / 2)] ?? 0,
    worstNmse: inOrder.at(-1) ?? 0,
    topAgreement: agreements / positions.length,
  }
}

function squares(got: Float32Array, wanted: Float32Array): { error: number; size: number } {
  let [error, size] = [0, 0]
  for (let i = 0; i < wanted.length; i++) {
    const expected = wanted[i] ?? NaN
    error += ((got[i] ?? NaN) - expected) ** 2
    size += expected ** 2
  }
  return { error, size }
}

/** The highest logit's token, the lowest id among equals. */
function top(logits: Float32Array): number {
  let best = 0
  for (let id = 1; id < logits.length; id++) if ((logits[id] ?? 0) > (logits[best] ?? 0)) best = id
  return best
}
