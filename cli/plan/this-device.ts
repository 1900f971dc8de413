/**
 * The GPU of this machine as a device to plan for: its rates measured in a few seconds, each by a probe whose result is
 * checked. "As built" is Axle's own product, in the format of the plan's experts, not a share of another card's.
 *
 * WebGPU tells no memory: it is given, or a CPU adapter's is the machine's, or it stays unknown.
 */
import { totalmem } from 'node:os'
import { openDevice, type AdapterFacts } from '../../gpu-worker/gpu/device.ts'
import { matmulRows, ROWS_TOGETHER } from '../../gpu-worker/kernels/matmul-rows.ts'
import { matmulSingle } from '../../gpu-worker/kernels/matmul.ts'
import {
  formatName,
  isPlain,
  rowBytes,
  rowLayout,
  type Matrix,
  type WeightFormat,
} from '../../gpu-worker/kernels/matrix.ts'
import type { Device } from './devices.ts'
import { probe, ProbeBench } from './probe-bench.ts'

/** Too large for a GPU's caches; a CPU's memory is slow enough for less. */
const GPU_BYTES = 1 << 30
const CPU_BYTES = 1 << 27
/** A.X K1's hidden size. */
const COLUMNS = 7168

/** Throws GpuError when there is no GPU or it fails, Error when a probe's result is wrong. */
export async function measureThis(format: WeightFormat, memoryBytes: number | null): Promise<Device> {
  const gpu = await openDevice()
  const bench = new ProbeBench(gpu)
  try {
    const { adapter } = gpu
    const isCpu = /llvmpipe|lavapipe|swiftshader/i.test(`${adapter.device} ${adapter.description}`)
    const bytes = Math.min(isCpu ? CPU_BYTES : GPU_BYTES, bench.bindingBytesMax)
    const dispatchSeconds = await timeDispatch(bench)
    const product = await timeProduct(bench, format, bytes)
    return {
      name: 'this',
      title: titleOf(adapter),
      memoryBytes: memoryBytes ?? (isCpu ? totalmem() : null),
      bindingBytesMax: bench.bindingBytesMax,
      roof: {
        bytesPerSecond: await timeStream(bench, bytes),
        flopsPerSecond: await timeArithmetic(bench),
        dispatchSeconds,
      },
      asBuilt: { ...product, dispatchSeconds },
      matrixFlopsPerSecond: null,
      sources: [`all measured now; as built: a product with ${formatName(format)} weights for one row, and for four`],
    }
  } finally {
    bench.close()
    gpu.close()
  }
}

function titleOf({ device, description, backend }: AdapterFacts): string {
  return `${[device, description].filter((part) => part !== '').join(', ')} (${backend})`
}

/** Vectors that a workgroup of `fill.wgsl` and `stream.wgsl` takes. */
const VECTORS_EACH = 64 * 256

async function timeStream(bench: ProbeBench, bytesMax: number): Promise<number> {
  const workgroups = Math.floor(bytesMax / 16 / VECTORS_EACH)
  const count = workgroups * VECTORS_EACH
  const words = bench.storage('words', count * 16)
  const sums = bench.storage('sums', workgroups * 256 * 4)
  await bench.run(fill(words, count, { RECORD: 0, HEAD: 0, FIRST: 0, SECOND: 0 }))
  const seconds = await bench.seconds(probe('stream', ['read', 'write'], [words, sums], { COUNT: count }, workgroups))
  // 64 vectors of an invocation, each 0 + 1 + 2 + 3 or 4 + 5 + 6 + 7 by its own lane's parity.
  const got = new Uint32Array(await bench.read(sums, workgroups * 256 * 4))
  check(
    'stream',
    got.every((sum, i) => sum === 64 * (i % 2 === 0 ? 6 : 22)),
  )
  return (count * 16) / seconds
}

function fill(
  words: Parameters<ProbeBench['write']>[0],
  count: number,
  record: { readonly RECORD: number; readonly HEAD: number; readonly FIRST: number; readonly SECOND: number },
) {
  return probe('fill', ['write'], [words], { COUNT: count, ...record }, Math.ceil(count / VECTORS_EACH))
}

const ARITHMETIC_WORKGROUPS = 4096
const ARITHMETIC_LOOPS = 512
const CHAINS = 32

async function timeArithmetic(bench: ProbeBench): Promise<number> {
  const factors = bench.storage('factors', 8)
  const y = bench.storage('y', ARITHMETIC_WORKGROUPS * 64 * 4)
  bench.write(factors, new Float32Array([1, 2 ** -10]))
  const constants = { LOOPS: ARITHMETIC_LOOPS }
  const seconds = await bench.seconds(
    probe('multiply-add', ['read', 'write'], [factors, y], constants, ARITHMETIC_WORKGROUPS),
  )
  const got = new Float32Array(await bench.read(y, ARITHMETIC_WORKGROUPS * 64 * 4))
  check(
    'multiply-add',
    got.every((sum) => sum === (CHAINS * ARITHMETIC_LOOPS) / 1024),
  )
  return (ARITHMETIC_WORKGROUPS * 64 * CHAINS * ARITHMETIC_LOOPS * 2) / seconds
}

async function timeDispatch(bench: ProbeBench): Promise<number> {
  const counter = bench.storage('counter', 4)
  const before = new Uint32Array(await bench.read(counter, 4))[0] ?? 0
  const seconds = await bench.seconds(probe('count', ['write'], [counter], {}, 1))
  const after = new Uint32Array(await bench.read(counter, 4))[0] ?? 0
  check('count', after > before)
  return seconds
}

/** Axle's product over weights that are all 1: bytes of weights a second for one row, operations a second for four. */
async function timeProduct(
  bench: ProbeBench,
  format: WeightFormat,
  bytesMax: number,
): Promise<{ readonly bytesPerSecond: number; readonly flopsPerSecond: number }> {
  const { bytes, scaleStart } = rowLayout(COLUMNS, format)
  const rowCount = Math.floor(bytesMax / bytes / 256) * 256
  const weights = bench.storage('weights', rowCount * bytes)
  const { value, scale } = ones(format)
  const record = { RECORD: bytes / 16, HEAD: scaleStart / 16, FIRST: value, SECOND: scale }
  await bench.run(fill(weights, (rowCount * bytes) / 16, record))
  const matrix: Matrix = {
    rowCount,
    columnCount: COLUMNS,
    windows: [{ slice: weights, format, rowStart: 0, rowCount }],
  }
  const x = { slice: bench.storage('x', ROWS_TOGETHER * COLUMNS * 4), width: COLUMNS, stride: COLUMNS }
  const y = { slice: bench.storage('products', ROWS_TOGETHER * rowCount * 4), width: rowCount, stride: rowCount }
  bench.write(x.slice, new Float32Array(ROWS_TOGETHER * COLUMNS).fill(1))
  const time = async (rows: number): Promise<number> => {
    const operands = { x, matrix, y }
    const [dispatch] = rows === 1 ? matmulSingle(operands, ROWS_TOGETHER, 2) : matmulRows(operands, ROWS_TOGETHER, 2)
    if (dispatch === undefined) throw new RangeError('A product of one window is one dispatch')
    const seconds = await bench.seconds(dispatch, rows)
    const got = new Float32Array(await bench.read(y.slice, rows * rowCount * 4))
    check(
      'product',
      got.every((sum) => sum === COLUMNS),
    )
    return seconds
  }
  return {
    bytesPerSecond: (rowCount * rowBytes(COLUMNS, format)) / (await time(1)),
    flopsPerSecond: (rowCount * COLUMNS * ROWS_TOGETHER * 2) / (await time(ROWS_TOGETHER)),
  }
}

/** u32 words whose values, and whose scales, are all 1 in this format. */
function ones(format: WeightFormat): { readonly value: number; readonly scale: number } {
  const plain = { f32: 0x3f80_0000, f16: 0x3c00_3c00, bf16: 0x3f80_3f80 }
  if (isPlain(format)) return { value: plain[format], scale: 0 }
  const one = { int4: 0x9999_9999, int8: 0x8181_8181, fp8: 0x3838_3838 }
  return { value: one[format.kind], scale: plain[format.scale] }
}

function check(name: string, isRight: boolean): void {
  if (!isRight) throw new Error(`Cannot measure this GPU: the probe ${name} computed something else than it must`)
}
