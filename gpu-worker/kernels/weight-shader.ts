/**
 * How a kernel's shader reads weights of a format: which text decodes a unit of them, and the constants it needs.
 *
 * A quantised format is four texts: how values are packed, how scales are stored, where zero points come from, and who
 * shares a scale. Each kernel's `Params` holds the constants, whatever its formats, so that they cost no pipelines.
 */
import { isPlain, rowLayout, VALUES_PER_UNIT, VECTOR_BYTES, type WeightFormat } from './matrix.ts'
import type { ColumnCount, Include } from './wgsl.ts'

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

/** Includes that define `dot_tile`. One activation row goes by whole vectors where each lies within one group. */
export function tileIncludes(columnCount: number, format: WeightFormat, columns: ColumnCount): Include[] {
  const weights = weightIncludes(columnCount, format)
  const tile: Include[] = ['tile', `columns-${columns}`]
  if (columns !== 1) return [...weights, ...tile, 'chunk-units']
  if (isPlain(format)) return [...weights, ...tile, 'vectors-plain', 'chunk-vectors']
  const vectorValues = format.kind === 'int4' ? 32 : 16
  const isWhole = groupColumns(columnCount, format.groupColumns) % vectorValues === 0
  return [
    ...weights,
    ...tile,
    ...(isWhole ? (['vectors-groups', 'chunk-vectors'] as const) : (['chunk-units'] as const)),
  ]
}

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
function groupColumns(columnCount: number, group: number): number {
  return group < columnCount ? group : ALL_COLUMNS
}

const ALL_COLUMNS = 2 ** 31

/** How many chunks of 256 columns a workgroup of a tile sums side by side. Few choices are few pipelines. */
export function chunkLanes(columnCount: number): number {
  const chunks = Math.ceil(columnCount / CHUNK_COLUMNS)
  return CHUNK_LANES.find((lanes) => lanes >= chunks) ?? CHUNK_LANES_MAX
}

const CHUNK_COLUMNS = 256
/** Weight rows of a tile. */
export const TILE_ROWS = 32
/** At least as many as a tile has activation rows. */
const CHUNK_LANES = [8, 16]
/** 8 lanes a chunk: the 256 invocations that every adapter has. */
const CHUNK_LANES_MAX = 32
