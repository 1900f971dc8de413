/**
 * `bench k1-kernels`: every product, the experts and attention at A.X K1's shapes, as a share of the nearer roof.
 *
 * Formats by batch by context; `bench roofline` has the rest of the kernels. Every output is checked. On a CPU adapter the
 * same by a few rows, so that the command can be tried there.
 */
import { timeAttention } from '../../cli/plan/product-probe.ts'
import { openDevice, type Gpu } from '../../gpu-worker/gpu/device.ts'
import type { QuantizedFormat, WeightFormat } from '../../gpu-worker/kernels/matrix.ts'
import { preset } from '../../gpu-worker/model/presets.ts'
import { attentionShape } from '../../gpu-worker/model/scratch.ts'
import { machineName, type Figure, type Report } from '../report.ts'
import { alone, rates } from '../roofline.ts'
import { expertsName, timeExperts } from '../roofline/experts.ts'
import { measurePeaks, type Peaks } from '../roofline/peaks.ts'
import { productName, timeProducts, type ProductTimes } from '../roofline/products.ts'
import { measureMatrices } from './matrix-peak.ts'

/** Of the nearer roof, %: one row, and the largest batch. */
const GEMV_SHARE_MIN = 70
const GEMM_SHARE_MIN = 40

interface Sizes {
  readonly streamBytes: number
  readonly batches: readonly number[]
  /** Of a product's rows, by format: the model's own 7168 columns, as many rows as no cache holds. */
  readonly productBytes: number
  readonly expertCount: number
  readonly contexts: readonly number[]
  readonly attentionRows: number
}

const GPU_SIZES: Sizes = {
  streamBytes: 1 << 30,
  batches: [1, 8, 32, 128],
  productBytes: 320e6,
  expertCount: 64,
  contexts: [1024, 4096, 32_768],
  attentionRows: 32,
}
const CPU_SIZES: Sizes = {
  streamBytes: 1 << 26,
  batches: [1, 8],
  productBytes: 4e6,
  expertCount: 8,
  contexts: [256],
  attentionRows: 2,
}

const int4: QuantizedFormat = { kind: 'int4', groupColumns: 32, scale: 'bf16', hasZeroPoints: false }
const FORMATS: readonly (readonly [format: WeightFormat, bytesEach: number])[] = [
  [int4, 0.5625],
  [{ ...int4, kind: 'int8' }, 1.0625],
  [{ ...int4, kind: 'fp8', groupColumns: 128, scale: 'f32' }, 1.03],
  ['bf16', 2],
]
/** What a product's rows are a multiple of. */
const ROWS_STEP = 256

export async function k1Kernels(): Promise<Report> {
  const gpu = await openDevice()
  const problems: string[] = []
  try {
    const figures = await measure(gpu, gpu.processor === 'gpu' ? GPU_SIZES : CPU_SIZES, problems)
    return {
      bench: 'k1-kernels',
      machine: machineName(),
      adapter: `${gpu.adapter.description}, kernels for ${gpu.processor}s`,
      date: new Date().toISOString().slice(0, 10),
      notes: [
        'Best of three rounds, each of runs that last 0.1 s together; every output checked. A share is of the nearer',
        'roof: bytes at the best stream, operations at the best fma chains. Experts: gate, up and down with their groups.',
        'Attention: absorbed MLA, entries of 512 + 64; all rows over one cache.',
        ...problems,
      ],
      figures,
    }
  } finally {
    gpu.close()
  }
}

/** What one case cannot do is told in `problems`: the others are measured all the same. */
async function measure(gpu: Gpu, sizes: Sizes, problems: string[]): Promise<Figure[]> {
  const config = preset('axk1')
  const { hiddenSize, moeIntermediateSize: width, expertsPerToken: top } = config
  const peaks = await alone(gpu, (bench) => measurePeaks(bench, Math.min(sizes.streamBytes, bench.bindingBytesMax)))
  const figures: Figure[] = [...peaks.figures]
  const add = async (name: string, run: () => Promise<Figure[]>): Promise<void> => {
    try {
      figures.push(...(await run()))
    } catch (error) {
      gpu.check()
      problems.push(`${name}: ${error instanceof Error ? error.message : String(error)}.`)
    }
  }
  await add('subgroup matrices', async () => {
    const rate = await measureMatrices()
    return rate === null ? [] : [{ name: 'subgroup matrices, f16 to f32', value: rate / 1e9, unit: 'GFLOP/s' }]
  })
  const last = sizes.batches.at(-1)
  for (const [format, bytesEach] of FORMATS) {
    const rowCount = Math.ceil(sizes.productBytes / bytesEach / hiddenSize / ROWS_STEP) * ROWS_STEP
    for (const rows of sizes.batches) {
      const goal = goalOf(gpu, rows, last)
      const product = { format, rowCount, columnCount: hiddenSize, rows }
      const name = productName(product)
      const time = (): Promise<ProductTimes> => alone(gpu, (bench) => timeProducts(bench, product))
      await add(name, async () => rates(name, await time(), peaks, goal))
    }
  }
  for (const [format] of FORMATS) {
    for (const rows of sizes.batches) {
      const shape = { format, expertCount: sizes.expertCount, top, hiddenSize, width, rows }
      const name = expertsName(shape)
      const time = (): Promise<ProductTimes> => alone(gpu, (bench) => timeExperts(bench, shape))
      await add(name, async () => rates(name, await time(), peaks, goalOf(gpu, rows, last)))
    }
  }
  for (const format of ['f32', 'f16'] as const) {
    for (const keys of sizes.contexts) {
      const size = { keys, rows: sizes.attentionRows }
      await add(`attention, ${format} cache, ${keys} keys`, async () => {
        const rate = await alone(gpu, (bench) => timeAttention(bench, attentionShape(config), format, size))
        const ofRow = rate.flopsPerSecondOfRow ?? rate.flopsPerSecond
        return [
          ...attentionFigures(`attention, ${format} cache, 1 × ${keys} keys`, ofRow, peaks),
          ...attentionFigures(`attention, ${format} cache, ${size.rows} × ${keys} keys`, rate.flopsPerSecond, peaks),
        ]
      })
    }
  }
  return figures
}

/** Always nearer to its arithmetic: an entry of 2,304 bytes is 139,264 operations. */
function attentionFigures(name: string, flopsPerSecond: number, peaks: Peaks): Figure[] {
  return [
    { name, value: flopsPerSecond / 1e9, unit: 'GFLOP/s' },
    { name: `${name}: share`, value: (100 * flopsPerSecond) / peaks.flopsPerSecond, unit: '% of the roof' },
  ]
}

/** Goals are of GPUs. */
function goalOf({ processor }: Gpu, rows: number, last: number | undefined): number | undefined {
  if (processor === 'cpu') return undefined
  if (rows === 1) return GEMV_SHARE_MIN
  return rows === last ? GEMM_SHARE_MIN : undefined
}
