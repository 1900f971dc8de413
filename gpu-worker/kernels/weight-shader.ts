/**
 * How a kernel's shader reads weights of a format: which text decodes a unit of them, and the constants it needs.
 *
 * A quantised format is four texts: how values are packed, how scales are stored, where zero points come from, and who
 * shares a scale. Each kernel's `Params` holds the constants, whatever its formats, so that they cost no pipelines.
 */
import { isPlain, rowLayout, VALUES_PER_UNIT, VECTOR_BYTES, type WeightFormat } from './matrix.ts'
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
