/**
 * Axle's own product and attention as probes: how fast today's kernels are on a GPU, each result checked.
 *
 * Weights, activations and cache entries are all 1, so that every result is known. Knows no device.
 */
import type { Slice } from '../../gpu-worker/gpu/buffers.ts'
import { ofStep } from '../../gpu-worker/gpu/recipe.ts'
import type { AttentionShape } from '../../gpu-worker/kernels/attention-shape.ts'
import { layOutAttentionWork, planAttention, slotCountFor } from '../../gpu-worker/kernels/attention-plan.ts'
import { latentAttention } from '../../gpu-worker/kernels/latent-attention.ts'
import { fitsTile } from '../../gpu-worker/kernels/latent-attention-tile.ts'
import { partBytes } from '../../gpu-worker/kernels/latent-merge.ts'
import { scoreBytes, slotBytes } from '../../gpu-worker/kernels/score-operands.ts'
import { blockBytes, entryLayout, type PageFormat } from '../../gpu-worker/kernels/latent-pages.ts'
import { ROWS_TOGETHER } from '../../gpu-worker/kernels/matmul-rows.ts'
import { matmul } from '../../gpu-worker/kernels/matmul.ts'
import {
  isPlain,
  paddedColumns,
  rowLayout,
  type Activation,
  type Matrix,
  type MatrixWindow,
  type WeightFormat,
} from '../../gpu-worker/kernels/matrix.ts'
import { BLOCK_TOKENS } from '../../gpu-worker/kernels/step-input.ts'
import type { PartRates } from './devices.ts'
import { fillProbe, type ProbeBench } from './probe-bench.ts'

/** A product as the model has it: a matrix [rows, columns], and how many such, so that no cache holds them. */
export interface ProductSize {
  readonly rowCount: number
  readonly columnCount: number
  readonly copies: number
}

/** Bytes of weights a second for one row, operations a second for four. */
export async function timeProduct(bench: ProbeBench, format: WeightFormat, size: ProductSize): Promise<PartRates> {
  const { rowCount, columnCount, copies } = size
  const { bytes } = rowLayout(columnCount, format)
  const windows: MatrixWindow[] = []
  for (let i = 0; i < copies; i++) {
    windows.push({ slice: await onesOf(bench, format, size), format, rowStart: i * rowCount, rowCount })
  }
  const matrix: Matrix = { rowCount: copies * rowCount, columnCount, windows }
  const x = activation(bench, columnCount)
  const y = activation(bench, matrix.rowCount)
  bench.write(x.slice, new Float32Array(ROWS_TOGETHER * x.stride).fill(1))
  const time = async (rows: number): Promise<number> => {
    const seconds = await bench.seconds(matmul({ x, matrix, y }, ROWS_TOGETHER), rows)
    const got = new Float32Array(await bench.read(y.slice, rows * y.stride * 4))
    bench.check(
      'product',
      got.every((sum, i) => i % y.stride >= y.width || sum === columnCount),
    )
    return seconds / copies
  }
  return {
    bytesPerSecond: (rowCount * bytes) / (await time(1)),
    flopsPerSecond: (rowCount * columnCount * ROWS_TOGETHER * 2) / (await time(ROWS_TOGETHER)),
    flopsPerSecondOfRow: null,
  }
}

function activation(bench: ProbeBench, width: number): Activation {
  const stride = paddedColumns(width)
  return { slice: bench.storage('activation', ROWS_TOGETHER * stride * 4), width, stride }
}

/** A matrix of ones on the GPU. */
async function onesOf(bench: ProbeBench, format: WeightFormat, { rowCount, columnCount }: ProductSize): Promise<Slice> {
  const { bytes, scaleStart } = rowLayout(columnCount, format)
  const slice = bench.storage('weights', rowCount * bytes)
  const { value, scale } = ones(format)
  await bench.run(
    fillProbe(slice, rowCount * bytes, { RECORD: bytes / 16, HEAD: scaleStart / 16, FIRST: value, SECOND: scale }),
  )
  return slice
}

/** u32 words whose values, and whose scales, are all 1 in this format. */
function ones(format: WeightFormat): { readonly value: number; readonly scale: number } {
  if (isPlain(format)) return { value: PLAIN_ONES[format], scale: 0 }
  return { value: PACKED_ONES[format.kind], scale: PLAIN_ONES[format.scale] }
}

const PLAIN_ONES = { f32: 0x3f80_0000, f16: 0x3c00_3c00, bf16: 0x3f80_3f80 }
/** Integers are offset binary. */
const PACKED_ONES = { int4: 0x9999_9999, int8: 0x8181_8181, fp8: 0x3838_3838 }

/** How much attention is timed: keys of a row, whole blocks, and rows at once. */
export interface AttentionSize {
  readonly keys: number
  readonly rows: number
}

/** Each weight is 1 / keys to a few roundings. */
const ERROR_MAX = 1e-3

/** Operations a second for one row and for several, each over a cache of its own entries. */
export async function timeAttention(
  bench: ProbeBench,
  shape: AttentionShape,
  format: PageFormat,
  { keys, rows: most }: AttentionSize,
): Promise<PartRates> {
  const { entry, ropeStart } = entryLayout(shape)
  const blockCount = keys / BLOCK_TOKENS
  const bytes = blockCount * blockBytes(shape, format)
  const slice = bench.storage('pages', bytes)
  const one = PLAIN_ONES[format]
  await bench.run(fillProbe(slice, bytes, { RECORD: 1, HEAD: 1, FIRST: one, SECOND: one }))
  const hasStages = fitsTile(shape)
  const slotCount = slotCountFor(keys, most, slotBytes(shape, hasStages), bench.bindingBytesMax, hasStages)
  const work = layOutAttentionWork(bench, { slotCount, rowsMax: most, hasStages })
  const operands = {
    rows: bench.storage('rows', most * 16),
    tables: bench.storage('tables', blockCount * 4),
    pages: { slice, shape, blockCount, format },
    queries: bench.storage('queries', most * shape.headCount * entry * 4),
    mixed: bench.storage('mixed', most * shape.headCount * ropeStart * 4),
    work,
    scores: bench.storage('scores', hasStages ? work.slotCount * scoreBytes(shape) : 0),
    parts: bench.storage('parts', work.slotCount * partBytes(shape)),
  }
  bench.write(
    operands.rows,
    Uint32Array.from({ length: most * 4 }, (_, i) => (i % 4 === 1 ? keys - 1 : 0)),
  )
  bench.write(
    operands.tables,
    Uint32Array.from({ length: blockCount }, (_, i) => i),
  )
  const queries = new Float32Array(most * shape.headCount * entry).fill(1 / entry)
  bench.write(operands.queries, queries)
  const dispatches = latentAttention(operands, shape, 1)
  const flops = keys * shape.headCount * (2 * (shape.latent + shape.rope) + 2 * shape.latent)
  const rate = async (rows: number): Promise<number> => {
    const { writes, counts } = planAttention(new Uint32Array(rows).fill(keys), work, bench.processor)
    for (const { slice: target, at, values } of writes) bench.write(target, values, at)
    const seconds = await bench.seconds(ofStep(dispatches, counts))
    const got = new Float32Array(await bench.read(operands.mixed, rows * shape.headCount * ropeStart * 4))
    bench.check(
      'attention',
      got.every((value, i) => i % ropeStart >= shape.latent || Math.abs(value - 1) < ERROR_MAX),
    )
    return (rows * flops) / seconds
  }
  const flopsPerSecondOfRow = await rate(1)
  // Entries stay in caches here: reading them is not what this tells.
  return { bytesPerSecond: Infinity, flopsPerSecond: await rate(most), flopsPerSecondOfRow }
}
