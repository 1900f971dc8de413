/**
 * How many sequences, rows and KV blocks a Runner gets: what was asked, what the adapter binds, what the budget leaves.
 *
 * Pure. A budget that cannot hold the model is refused with the whole account and what would help; without a budget only
 * the cache is bounded, since WebGPU cannot ask what is free.
 */
import type { RunnerLimits } from '../engine/runner.ts'
import { GpuError } from '../gpu/gpu-error.ts'
import { blockBytes } from '../kernels/latent-pages.ts'
import { ROWS_TOGETHER } from '../kernels/matmul-rows.ts'
import { BLOCK_TOKENS } from '../kernels/step-input.ts'
import { formatBytes } from './byte-size.ts'
import { memoryTable } from './memory-table.ts'
import { memoryOf, type MemoryAccount, type ServedLayers } from './memory.ts'
import { pageFormat } from './profile.ts'
import { attentionShape } from './scratch.ts'

const DEFAULT_SEQUENCES_MAX = 32
/** Of the cache, where nobody says what the GPU has. */
const DEFAULT_KV_BYTES_MAX = 256 * 1024 * 1024

export interface MemoryRequest {
  readonly sequencesMax?: number
  /** Rows of one step; rounded up to a multiple of 4. */
  readonly rowsMax?: number
  /** KV blocks; by default as many as the budgets and the binding limit allow, at most what all sequences can fill. */
  readonly blockCount?: number
  /** Everything that this Runner allocates, uploads of its loading included. */
  readonly gpuBytesMax?: number
  /** Of that, the cache. With `gpuBytesMax` alone it gets what the rest leaves. */
  readonly kvBytesMax?: number
  /** Of the host, for experts that take turns. */
  readonly hostBytesMax?: number
}

export interface FittedMemory {
  readonly limits: RunnerLimits
  readonly account: MemoryAccount
}

/** The budget cannot hold it. `wayOut` says what would. */
export class MemoryRefusal extends GpuError {
  readonly wayOut: string

  constructor(message: string, wayOut: string) {
    super('limit', message)
    this.wayOut = wayOut
  }
}

/** Throws GpuError 'limit', a MemoryRefusal where a budget is too small. */
export function fitMemory(served: ServedLayers, request: MemoryRequest): FittedMemory {
  const fitted = tryFit(served, request)
  if (fitted.kind === 'fits') {
    checkHost(fitted.account, request)
    return fitted
  }
  const { least, gpuBytesMax } = fitted
  const need = peakBytes(least)
  const words = `the least it takes is ${formatBytes(need)}\n${memoryTable(least, served)}`
  throw new MemoryRefusal(
    `The model does not fit in ${formatBytes(gpuBytesMax)}: ${words}`,
    waysOut(served, request, need),
  )
}

function checkHost({ hostBytes }: MemoryAccount, { hostBytesMax = Infinity }: MemoryRequest): void {
  if (hostBytes <= hostBytesMax) return
  throw new MemoryRefusal(
    `Experts that take turns wait in host memory: they need ${formatBytes(hostBytes)}, there are ${formatBytes(hostBytesMax)}`,
    'What helps: a machine of more memory; AXLE_EXPERT_SLOTS unset, if the GPU holds them all.',
  )
}

/** Rows of a step where nobody says how many: of prompts at least as many as of decodes, or nobody new would begin. */
export function defaultRowsMax(sequencesMax: number): number {
  return Math.max(256, 2 * sequencesMax)
}

/** Serving and, while it lasts, loading. */
export function peakBytes({ servingBytes, uploadBytes }: MemoryAccount): number {
  return servingBytes + uploadBytes
}

type Fit =
  | ({ readonly kind: 'fits' } & FittedMemory)
  /** `least`: with the smallest cache that was asked for. */
  | { readonly kind: 'too-large'; readonly least: MemoryAccount; readonly gpuBytesMax: number }

function tryFit(served: ServedLayers, request: MemoryRequest): Fit {
  const { gpuBytesMax = Infinity } = request
  const most = limitsWith(served, request, blocksAsked(served, request))
  const account = memoryOf(served, most)
  if (peakBytes(account) <= gpuBytesMax) return { kind: 'fits', limits: most, account }
  const least = memoryOf(served, { ...most, blockCount: request.blockCount ?? 1 })
  if (peakBytes(least) > gpuBytesMax || request.blockCount !== undefined)
    return { kind: 'too-large', least, gpuBytesMax }
  // Block tables grow with the pool up to the context, an entry a sequence: counted in full, or by each block.
  const blockBytesAll = account.cache.bytes / most.blockCount
  const byRest = (gpuBytesMax - peakBytes(account) + account.cache.bytes) / blockBytesAll
  const byBlock = 1 + (gpuBytesMax - peakBytes(least) - ROUNDING_BYTES) / (blockBytesAll + 4 * most.sequencesMax)
  const limits = { ...most, blockCount: Math.floor(Math.max(1, byRest, byBlock)) }
  return { kind: 'fits', limits, account: memoryOf(served, limits) }
}

/** What a buffer's size is rounded up to. */
const ROUNDING_BYTES = 16

function limitsWith({ config }: ServedLayers, request: MemoryRequest, blockCount: number): RunnerLimits {
  const { contextTokensMax, vocabSize } = config
  const { sequencesMax = DEFAULT_SEQUENCES_MAX } = request
  const rowsMax = Math.ceil((request.rowsMax ?? defaultRowsMax(sequencesMax)) / ROWS_TOGETHER) * ROWS_TOGETHER
  return { rowsMax, sequencesMax, blockTokens: BLOCK_TOKENS, blockCount, contextTokensMax, vocabSize }
}

/** Before the whole budget is looked at. */
function blocksAsked({ config, layout, profile, device }: ServedLayers, request: MemoryRequest): number {
  const { gpuBytesMax, sequencesMax = DEFAULT_SEQUENCES_MAX } = request
  const layerCount = layout.range.end - layout.range.start
  const bytesPerBlock = blockBytes(attentionShape(config), pageFormat(profile))
  const kvBytesMax = request.kvBytesMax ?? (gpuBytesMax === undefined ? DEFAULT_KV_BYTES_MAX : Infinity)
  const affordable = Math.floor(kvBytesMax / (bytesPerBlock * layerCount))
  const bindable = Math.floor(device.bindingBytesMax / bytesPerBlock)
  const fillable = sequencesMax * Math.ceil(config.contextTokensMax / BLOCK_TOKENS)
  const count = request.blockCount ?? Math.min(fillable, affordable, bindable)
  if (count >= 1 && count <= bindable) return count
  if (affordable === 0) {
    const least = bytesPerBlock * layerCount
    throw new MemoryRefusal(
      `The KV cache does not fit in ${formatBytes(kvBytesMax)}: the least is ${least} bytes, for ${BLOCK_TOKENS} tokens`,
      `What helps: AXLE_KV_BYTES=${least} or more; the longest sequence is what the cache holds.`,
    )
  }
  const holds = `one binding holds ${bindable}, ${kvBytesMax} bytes hold ${affordable}`
  throw new GpuError('limit', `Cannot allocate ${count} KV blocks in each of ${layerCount} layers: ${holds}`)
}

/** What an operator can turn, tried: the mildest of each that would fit. */
function waysOut(served: ServedLayers, request: MemoryRequest, needBytes: number): string {
  const { sequencesMax = DEFAULT_SEQUENCES_MAX } = request
  const fits = (changed: ServedLayers, asked: MemoryRequest): boolean => {
    try {
      return tryFit(changed, asked).kind === 'fits'
    } catch (error) {
      // Experts that are stored differently cannot take turns: no way out for this model.
      if (error instanceof GpuError) return false
      throw error
    }
  }
  const ways: string[] = []
  for (let slots = sequencesMax >> 1; slots >= 1; slots >>= 1) {
    if (!fits(served, { ...request, sequencesMax: slots })) continue
    ways.push(`AXLE_SLOTS=${slots}`)
    break
  }
  if (served.profile === 'exact' && fits({ ...served, profile: 'kv16' }, request)) ways.push('AXLE_PROFILE=kv16')
  const { routedExpertCount } = served.config
  for (let slots = (served.expertSlots ?? routedExpertCount) >> 1; slots >= 1; slots >>= 1) {
    if (!fits({ ...served, expertSlots: slots }, request)) continue
    ways.push(
      `AXLE_EXPERT_SLOTS=${slots} (of ${routedExpertCount}: the others wait in host memory, and steps for them)`,
    )
    break
  }
  const needMiB = Math.ceil(needBytes / 2 ** 20)
  ways.push(`AXLE_GPU_BYTES=${needMiB}MiB or more, if the GPU has it`, 'a checkpoint of smaller weights (axle convert)')
  return `What helps: ${ways.join('; ')}.`
}
