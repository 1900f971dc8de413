/**
 * How a kernel's shader reads weights of a format: which text decodes a unit of them, and the constants it needs.
 */
import { isPlain, rowVectors, type WeightFormat } from './matrix.ts'
import type { Include } from './wgsl.ts'

/** Includes that define `weight_unit` and `weight_at` for a kernel, and the products over them. */
export function weightIncludes(format: WeightFormat): Include[] {
  if (!isPlain(format)) throw new RangeError(`No kernel reads ${format.kind} yet`)
  return [`weights-${format}`, 'quads', 'dot']
}

/** The constants of a kernel whose weight rows have this many columns. */
export function weightConstants(columnCount: number, format: WeightFormat) {
  return { W_VECTORS: rowVectors(columnCount, format) }
}
