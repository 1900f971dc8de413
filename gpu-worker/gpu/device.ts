/**
 * Opens a GPU through Dawn and turns its silent failures into loud ones.
 *
 * Knows nothing of shaders or models. Toggles and deadlines are arguments; of the environment it touches what a software
 * driver reads (`software-driver.ts`).
 */
import { availableParallelism } from 'node:os'
import { create, globals } from 'webgpu'
import { withDeadline } from './deadline.ts'
import { GpuError } from './gpu-error.ts'
import { keepsHalfDenormals } from './half-denormals.ts'
import { parkedWait } from './parked-wait.ts'
import { WIDE_LANES, type Processor, type WorkgroupWidth } from './program.ts'
import { tuneSoftwareDriver } from './software-driver.ts'
import { unknownToggles } from './toggles.ts'

Object.assign(globalThis, globals)

/**
 * Objects from `create()`, for the life of the process: Dawn's async runner keeps a raw pointer to them, so a collected
 * one is a crash at the next tick.
 */
const instances = new Map<string, GPU>()

export interface DeviceOptions {
  /** Dawn toggles to enable at instance, adapter and device. None by default: validation and robustness stay on. */
  readonly toggles?: readonly string[]
  /** Dawn's own choices to switch off, for what looks into it: a bench that wants timestamps to the nanosecond. */
  readonly withoutToggles?: readonly string[]
  /** 'vulkan', 'metal', 'd3d12', …; Dawn's choice when absent. */
  readonly backend?: string
  /** Part of the adapter's name; the first that fits. */
  readonly adapterName?: string
  /** Run the programs meant for this kind of adapter; by default the adapter's own. The bits are the same. */
  readonly processor?: Processor
  /** False: run the programs meant for adapters without subgroups, wherever it is. The bits are the same. */
  readonly subgroups?: false
  /** Longest wait for one answer of the GPU. */
  readonly deadlineMs?: number
}

/** What a log line or a fingerprint needs to say about the device. */
export interface AdapterFacts {
  readonly vendor: string
  readonly architecture: string
  readonly device: string
  /** Name and driver version, as the driver gives them. */
  readonly description: string
  readonly backend: string
  readonly toggles: readonly string[]
}

interface DeviceUse {
  readonly processor: Processor
  readonly hasSubgroups: boolean
  readonly hasMatrices: boolean
  readonly keepsHalfDenormals: boolean
  /** Whether it computes on the cores that this process runs on. */
  readonly isHost: boolean
  readonly deadlineMs: number
}

/** Fewer lanes are too few for the programs that swap values among them. */
const SUBGROUP_LANES_MIN = 8

/** Generous: a software Vulkan driver compiles slowly on a busy machine. */
const DEFAULT_DEADLINE_MS = 60_000

export class Gpu {
  readonly device: GPUDevice
  readonly adapter: AdapterFacts
  readonly processor: Processor
  /** Whether lanes can swap values in subgroups, of eight lanes or more. */
  readonly hasSubgroups: boolean
  /** Whether subgroups of 32 lanes multiply matrices, 16 × 16 of f16, and add up in f32. */
  readonly hasMatrices: boolean
  /** Whether conversions from f16 keep denormals, as this device showed. */
  readonly keepsHalfDenormals: boolean
  readonly deadlineMs: number
  readonly #isHost: boolean
  #failure: GpuError | null = null
  /** Ends each wait under way. Not one promise for all: a race would leave a reaction on it at every wait, for ever. */
  readonly #waiters = new Set<(error: GpuError) => void>()
  readonly #onUncaptured = ({ error }: GPUUncapturedErrorEvent): void => {
    const isFull = error instanceof GPUOutOfMemoryError
    const [kind, what] = isFull
      ? (['memory', 'has no memory left'] as const)
      : (['uncaptured', 'refused a command'] as const)
    this.#fail(new GpuError(kind, `The GPU ${what}: ${withoutSource(error.message)}`))
  }

  constructor(device: GPUDevice, adapter: AdapterFacts, use: DeviceUse) {
    const { processor, hasSubgroups, hasMatrices, keepsHalfDenormals: keeps, isHost, deadlineMs } = use
    this.device = device
    this.adapter = adapter
    this.processor = processor
    this.hasSubgroups = hasSubgroups
    this.hasMatrices = hasMatrices
    this.keepsHalfDenormals = keeps
    this.deadlineMs = deadlineMs
    this.#isHost = isHost
    device.addEventListener('uncapturederror', this.#onUncaptured)
    void this.#watch()
  }

  get limits(): GPUSupportedLimits {
    return this.device.limits
  }

  get workgroupWidth(): WorkgroupWidth {
    const { maxComputeInvocationsPerWorkgroup: lanes, maxComputeWorkgroupSizeX: side } = this.limits
    return Math.min(lanes, side) >= WIDE_LANES ? 'wide' : 'narrow'
  }

  /** Throws the first failure the device reported, if any. */
  check(): void {
    if (this.#failure !== null) throw this.#failure
  }

  /** Awaits an answer of the GPU, no longer than the deadline and no longer than the device lives. */
  async wait<T>(answer: Promise<T>, what: string): Promise<T> {
    const { promise: failed, reject } = Promise.withResolvers<never>()
    this.#waiters.add(reject)
    // Not thrown before the race: an answer that nobody awaits ends the process when it fails.
    if (this.#failure !== null) reject(this.#failure)
    try {
      const either = Promise.race([answer, failed])
      const rested = this.#isHost ? parkedWait(either) : either
      const value = await withDeadline(rested, this.deadlineMs, () => {
        const error = late(what, this.deadlineMs)
        this.#fail(error)
        return error
      })
      this.check()
      return value
    } finally {
      this.#waiters.delete(reject)
    }
  }

  /** Waits for everything submitted so far. */
  async idle(what: string): Promise<void> {
    await this.wait(this.device.queue.onSubmittedWorkDone(), what)
  }

  /** From here on every wait and check throws. */
  close(): void {
    // Dawn keeps a device's listeners for the life of the process, and what they refer to.
    this.device.removeEventListener('uncapturederror', this.#onUncaptured)
    this.device.destroy()
    this.#fail(new GpuError('device-lost', 'The GPU device was closed'))
  }

  /** The first failure counts: waits under way see it at once, later ones through `check`. */
  #fail(error: GpuError): void {
    this.#failure ??= error
    for (const reject of this.#waiters) reject(this.#failure)
  }

  async #watch(): Promise<void> {
    const { message } = await this.device.lost
    this.#fail(new GpuError('device-lost', `The GPU device was lost: ${message}`))
  }
}

/** Opens the first acceptable adapter with all of its limits. Throws GpuError 'no-adapter' or 'toggle'. */
export async function openDevice(options: DeviceOptions = {}): Promise<Gpu> {
  const toggles = [...(options.toggles ?? [])]
  const unknown = await unknownToggles([...toggles, ...(options.withoutToggles ?? [])])
  if (unknown.length > 0) throw new GpuError('toggle', `Dawn knows no toggle ${unknown.join(', ')}`)
  const deadlineMs = options.deadlineMs ?? DEFAULT_DEADLINE_MS
  const inTime = <T>(answer: Promise<T>): Promise<T> =>
    withDeadline(answer, deadlineMs, () => late('opening the device', deadlineMs))
  const adapter = await inTime(requestAdapter(toggles, options))
  const features = OPTIONAL_FEATURES.filter((feature) => adapter.features.has(feature))
  const device = await inTime(adapter.requestDevice({ requiredFeatures: features, requiredLimits: limitsOf(adapter) }))
  const { vendor, architecture, device: name, description } = adapter.info
  const backend = options.backend ?? DEFAULT_BACKEND[process.platform] ?? 'unknown'
  const facts = { vendor, architecture, device: name, description, backend, toggles }
  const isHost = adapter.info.isFallbackAdapter
  const processor = options.processor ?? (isHost ? 'cpu' : 'gpu')
  const { subgroupMinSize: lanes = 0 } = adapter.info
  const canSwap = features.includes('subgroups') && lanes >= SUBGROUP_LANES_MIN
  const hasSubgroups = options.subgroups ?? canSwap
  const hasMatrices = multipliesMatrices(adapter)
  const showsDenormals = await inTime(keepsHalfDenormals(device))
  const use = { processor, hasSubgroups, hasMatrices, keepsHalfDenormals: showsDenormals, isHost, deadlineMs }
  return new Gpu(device, facts, use)
}

/** Dawn's message on one line, less where in Dawn it arose. */
function withoutSource(message: string): string {
  const lines = message.split('\n').map((line) => line.trim())
  return lines.filter((line) => line !== '' && !line.startsWith('at ')).join(' ')
}

function late(what: string, deadlineMs: number): GpuError {
  return new GpuError('deadline', `The GPU did not finish within ${deadlineMs} ms: ${what}`)
}

/** Offered only with Dawn's unsafe toggles; WebGPU's types do not know it yet. */
const MATRIX_FEATURE = 'chromium-experimental-subgroup-matrix' as GPUFeatureName

const OPTIONAL_FEATURES: readonly GPUFeatureName[] = ['shader-f16', 'subgroups', 'timestamp-query', MATRIX_FEATURE]

/** As Dawn describes one kind of matrix. */
interface MatrixConfig {
  readonly componentType: string
  readonly resultComponentType: string
  readonly M: number
  readonly N: number
  readonly K: number
}

function multipliesMatrices({ features, info }: GPUAdapter): boolean {
  // WebGPU's types do not know the configs either.
  const {
    subgroupMinSize,
    subgroupMaxSize,
    subgroupMatrixConfigs = [],
  } = info as GPUAdapterInfo & {
    readonly subgroupMatrixConfigs?: readonly MatrixConfig[]
  }
  const isOfMatrixSize = subgroupMinSize === MATRIX_LANES && subgroupMaxSize === MATRIX_LANES
  if (!features.has(MATRIX_FEATURE) || !features.has('shader-f16') || !isOfMatrixSize) return false
  return subgroupMatrixConfigs.some(({ componentType, resultComponentType, M, N, K }) => {
    const isOfTypes = componentType === 'f16' && resultComponentType === 'f32'
    return isOfTypes && [M, N, K].every((side) => side === MATRIX_SIDE)
  })
}

/** The one shape that block-matrix.wgsl is written for. */
const MATRIX_LANES = 32
const MATRIX_SIDE = 16

/** What Dawn takes when nobody names a backend; it does not tell which one it took. */
const DEFAULT_BACKEND: Partial<Record<NodeJS.Platform, string>> = { linux: 'vulkan', darwin: 'metal', win32: 'd3d12' }

async function requestAdapter(toggles: readonly string[], options: DeviceOptions): Promise<GPUAdapter> {
  const { withoutToggles = [] } = options
  const wanted = [
    ...(toggles.length > 0 ? [`enable-dawn-features=${toggles.join(',')}`] : []),
    ...(withoutToggles.length > 0 ? [`disable-dawn-features=${withoutToggles.join(',')}`] : []),
    ...(options.backend === undefined ? [] : [`backend=${options.backend}`]),
    ...(options.adapterName === undefined ? [] : [`adapter=${options.adapterName}`]),
  ]
  const way =
    'Install a Vulkan driver that Dawn accepts (for CPUs: Mesa lavapipe 25 or newer), or give the process access to its GPU.'
  const key = wanted.join(' ')
  tuneSoftwareDriver(process.env, availableParallelism())
  const gpu = instances.get(key) ?? create(wanted)
  instances.set(key, gpu)
  let adapter: GPUAdapter | null
  try {
    adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' })
  } catch (cause) {
    throw new GpuError('no-adapter', `Cannot open a GPU: Dawn found no suitable backend. ${way}`, { cause })
  }
  if (adapter === null) throw new GpuError('no-adapter', `Cannot open a GPU: Dawn accepts no adapter here. ${way}`)
  return adapter
}

/** Every limit the adapter has; the defaults are far too small for weights. */
function limitsOf(adapter: GPUAdapter): Record<string, number> {
  const limits: Record<string, number> = {}
  for (const name in adapter.limits) {
    // `GPUSupportedLimits` has no index signature; its enumerable names are exactly the limits' names.
    const value = (adapter.limits as unknown as Record<string, number | undefined>)[name]
    if (typeof value === 'number') limits[name] = value
  }
  return limits
}
