/**
 * How a kernel's shader reads weights of a format: which text decodes a unit of them, and the constants it needs.
 *
 * A quantised format is four texts: how values are packed, how scales are stored, where zero points come from, and who
 * shares a scale. Each kernel's `Params` holds the constants, whatever its formats, so that they cost no pipelines.
 */
import type { Products } from '../gpu/program.ts'
import { isPlain, rowLayout, VALUES_PER_UNIT, VECTOR_BYTES, type QuantizedFormat, type WeightFormat } from './matrix.ts'
import type { Include } from './wgsl.ts'

/** Includes that define `weight_unit` and `weight_at` for rows of this many columns, and the products over them. */
export function weightIncludes(columnCount: number, format: WeightFormat): Include[] {
  if (isPlain(format)) return [`weights-${format}`, 'quads', 'dot']
  return [
    `weights-${format.kind}`,
    `scales-${format.scale}`,
    format.hasZeroPoints ? 'zeros-stored' : 'zeros-middle',
    groupColumns(columnCount, format.groupColumns) % VALUES_PER_UNIT === 0 ? 'groups-units' : 'groups-values',
    'quads',
    'dot',
  ]
}

/** Weight rows of eight lanes together. */
export const LANES_ROWS = 32

/** Includes that define the products by eight lanes. */
export function lanesIncludes(columnCount: number, format: WeightFormat): Include[] {
  return ['subgroups', ...weightIncludes(columnCount, format), 'lanes']
}

/** How a packed vector becomes weights: by one fma where a scale is short enough. */
export function decodeInclude(format: WeightFormat): Include {
  if (isPlain(format)) return 'decode-plain'
  if (format.kind === 'fp8') return 'decode-fp8'
  if (format.scale === 'f32') return 'decode-product'
  return `decode-${format.kind}`
}

function hasWholeVectors(columnCount: number, { kind, groupColumns: group }: QuantizedFormat): boolean {
  return groupColumns(columnCount, group) % (kind === 'int4' ? 32 : 16) === 0
}

/** A panel's products: includes that define `dot_panel`, and how many chunks a workgroup takes at a time, in eights. */
export function panelShader(columnCount: number, format: WeightFormat): { includes: Include[]; chunkEights: number } {
  return {
    includes: [
      ...weightIncludes(columnCount, format),
      ...pieceIncludes(columnCount, format),
      'panel-columns-8',
      'panel',
    ],
    chunkEights: columnCount > PANEL_EIGHT_COLUMNS ? 2 : 1,
  }
}

/** Weight rows of a panel. */
export const PANEL_ROWS = 32

/** Includes that define pieces of a row, fetched first and decoded later: whole vectors where each lies within one group. */
function pieceIncludes(columnCount: number, format: WeightFormat): Include[] {
  if (isPlain(format)) return ['pieces-plain']
  if (!hasWholeVectors(columnCount, format)) return ['pieces-units']
  return [decodeInclude(format), 'pieces-grouped']
}

/** Includes that define `dot_block`, in the order of the contract or by matrix units; first those. */
export function blockIncludes(columnCount: number, format: WeightFormat, products: Products): Include[] {
  const weights = [...weightIncludes(columnCount, format), ...unitIncludes(columnCount, format), 'block-sums'] as const
  return products === 'matrix' ? ['matrices', ...weights, 'block-matrix'] : [...weights, 'block']
}

/** Includes for slabs of decoded weights in workgroup memory. */
export function slabIncludes(columnCount: number, format: WeightFormat): Include[] {
  return [...weightIncludes(columnCount, format), ...unitIncludes(columnCount, format)]
}

/** Includes that define units fetched first and decoded later. */
function unitIncludes(columnCount: number, format: WeightFormat): Include[] {
  if (isPlain(format)) return ['units-plain']
  if (groupColumns(columnCount, format.groupColumns) % VALUES_PER_UNIT !== 0) return ['units-values']
  return [decodeInclude(format), 'units-grouped']
}

/** Activation rows of a block. */
export type BlockRows = 32 | 64

/** 64 lanes with eight by eight sums each. */
export function blockShape(rowsTogether: BlockRows): { readonly weightRows: number; readonly rowLanes: number } {
  const weightRows = BLOCK_SUMS / rowsTogether
  return { weightRows, rowLanes: weightRows / LANE_ROWS }
}

const LANE_ROWS = 8
const BLOCK_SUMS = 64 * LANE_ROWS * LANE_ROWS

/** The constants of a kernel whose weight rows have this many columns. Unused ones are 0. */
export function weightConstants(columnCount: number, format: WeightFormat) {
  const { groupCount, scaleStart, zeroStart, bytes } = rowLayout(columnCount, format)
  return {
    W_VECTORS: bytes / VECTOR_BYTES,
    W_SCALES: scaleStart / VECTOR_BYTES,
    W_ZEROS: zeroStart / VECTOR_BYTES,
    W_GROUP: isPlain(format) ? 0 : groupColumns(columnCount, format.groupColumns),
    W_LAST_GROUP: Math.max(0, groupCount - 1),
  }
}

/** Of one group a row any size will do: take one that holds whole units, and a row's padding too. */
export function groupColumns(columnCount: number, group: number): number {
  return group < columnCount ? group : ALL_COLUMNS
}

const ALL_COLUMNS = 2 ** 31

/** Columns whose products are one chain: the UNITS_PER_CHUNK of dot.wgsl. */
export const CHUNK_COLUMNS = 32
/** Columns of eight chunks. */
const PANEL_EIGHT_COLUMNS = 8 * CHUNK_COLUMNS
