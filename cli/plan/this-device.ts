/**
 * The GPU of this machine as a device to plan for: its rates measured in seconds, each by a probe whose result is checked.
 * The roof is what stream and fma reach; as built is Axle's own product, in the plan's formats, and attention.
 *
 * WebGPU tells no memory: it is given, or a CPU adapter's is the machine's, or it stays unknown.
 */
import { totalmem } from 'node:os'
import { openDevice, type AdapterFacts } from '../../gpu-worker/gpu/device.ts'
import type { PageFormat } from '../../gpu-worker/kernels/latent-pages.ts'
import { rowBytes, type WeightFormat } from '../../gpu-worker/kernels/matrix.ts'
import type { ModelConfig } from '../../gpu-worker/model/config.ts'
import { attentionShape } from '../../gpu-worker/model/scratch.ts'
import { roofRates, type Device, type PartRates } from './devices.ts'
import { fillProbe, probe, ProbeBench, VECTORS_EACH } from './probe-bench.ts'
import { timeAttention, timeProduct, type ProductSize } from './product-probe.ts'

/** What is read is too large for a GPU's caches; a CPU has less of all, and takes as long for it. */
const GPU_PROBES = { streamBytes: 1 << 30, productBytes: 1 << 29, attention: { keys: 4096, rows: 16 } }
const CPU_PROBES = { streamBytes: 1 << 27, productBytes: 1 << 25, attention: { keys: 512, rows: 2 } }

/** What of a plan decides which of Axle's kernels run. */
export interface MeasuredParts {
  readonly config: ModelConfig
  readonly experts: WeightFormat
  readonly rest: WeightFormat
  readonly pages: PageFormat
}

/** Throws GpuError when there is no GPU or it fails, Error when a probe's result is wrong. */
export async function measureThis(parts: MeasuredParts, memoryBytes: number | null): Promise<Device> {
  const { config, pages } = parts
  const gpu = await openDevice()
  const bench = new ProbeBench(gpu)
  try {
    const { adapter } = gpu
    const isCpu = /llvmpipe|lavapipe|swiftshader/i.test(`${adapter.device} ${adapter.description}`)
    const sizes = isCpu ? CPU_PROBES : GPU_PROBES
    const streamBytes = Math.min(sizes.streamBytes, bench.bindingBytesMax)
    const { hiddenSize, moeIntermediateSize, expertsPerToken } = config
    const product = (format: WeightFormat, rowCount: number): Promise<PartRates> =>
      timeProduct(bench, format, productSize(hiddenSize, rowCount, format, sizes.productBytes))
    const [bytesPerSecond, flopsPerSecond] = [await timeStream(bench, streamBytes), await timeArithmetic(bench)]
    const dispatchSeconds = await timeDispatch(bench)
    const experts = await product(parts.experts, expertsPerToken * moeIntermediateSize)
    const rest = await product(parts.rest, hiddenSize)
    const attention = await timeAttention(bench, attentionShape(config), pages, sizes.attention)
    return {
      name: 'this',
      title: titleOf(adapter),
      memoryBytes: memoryBytes ?? (isCpu ? totalmem() : null),
      bindingBytesMax: bench.bindingBytesMax,
      roof: roofRates(bytesPerSecond, flopsPerSecond, dispatchSeconds),
      kernels: gpu.processor,
      asBuilt: { experts, rest, attention: { ...attention, bytesPerSecond }, dispatchSeconds },
      matrixFlopsPerSecond: null,
      sources: ['all measured now, the best of a few tries'],
    }
  } finally {
    bench.close()
    gpu.close()
  }
}

/** The model's own shape, since few rows keep few of a card's units busy; large enough to be timed. */
function productSize(columnCount: number, rowCount: number, format: WeightFormat, bytes: number): ProductSize {
  const bytesPerRow = rowBytes(columnCount, format)
  const rows = Math.ceil(Math.max(rowCount, PRODUCT_BYTES_MIN / bytesPerRow))
  return { rowCount: rows, columnCount, copies: Math.max(1, Math.floor(bytes / (rows * bytesPerRow))) }
}

const PRODUCT_BYTES_MIN = 1 << 23

function titleOf({ device, description, backend }: AdapterFacts): string {
  return `${[device, description].filter((part) => part !== '').join(', ')} (${backend})`
}

async function timeStream(bench: ProbeBench, bytesMax: number): Promise<number> {
  const workgroups = Math.floor(bytesMax / 16 / VECTORS_EACH)
  const bytes = workgroups * VECTORS_EACH * 16
  const words = bench.storage('words', bytes)
  const sums = bench.storage('sums', workgroups * 256 * 4)
  await bench.run(fillProbe(words, bytes, { RECORD: 0, HEAD: 0, FIRST: 0, SECOND: 0 }))
  const constants = { COUNT: bytes / 16 }
  const seconds = await bench.seconds([probe('stream', ['read', 'write'], [words, sums], constants, workgroups)])
  // 64 vectors of an invocation, each 0 + 1 + 2 + 3 or 4 + 5 + 6 + 7 by its own lane's parity.
  const got = new Uint32Array(await bench.read(sums, workgroups * 256 * 4))
  bench.check(
    'stream',
    got.every((sum, i) => sum === 64 * (i % 2 === 0 ? 6 : 22)),
  )
  return bytes / seconds
}

const ARITHMETIC_INVOCATIONS = 4096 * 256
const ARITHMETIC_LOOPS = 128
const CHAINS = 16
const LINKS_A_LOOP = 4

async function timeArithmetic(bench: ProbeBench): Promise<number> {
  const factors = bench.storage('factors', 8)
  const y = bench.storage('y', ARITHMETIC_INVOCATIONS * 4)
  bench.write(factors, new Float32Array([1, 2 ** -10]))
  const links = ARITHMETIC_LOOPS * LINKS_A_LOOP
  const workgroups = ARITHMETIC_INVOCATIONS / 256
  const constants = { LOOPS: ARITHMETIC_LOOPS }
  const seconds = await bench.seconds([probe('multiply-add', ['read', 'write'], [factors, y], constants, workgroups)])
  const got = new Float32Array(await bench.read(y, ARITHMETIC_INVOCATIONS * 4))
  bench.check(
    'multiply-add',
    got.every((sum) => sum === (CHAINS * links) / 1024),
  )
  return (ARITHMETIC_INVOCATIONS * CHAINS * links * 2) / seconds
}

async function timeDispatch(bench: ProbeBench): Promise<number> {
  const counter = bench.storage('counter', 4)
  const before = new Uint32Array(await bench.read(counter, 4))[0] ?? 0
  const seconds = await bench.seconds([probe('count', ['write'], [counter], {}, 1)])
  const after = new Uint32Array(await bench.read(counter, 4))[0] ?? 0
  bench.check('count', after > before)
  return seconds
}
