/**
 * A norm's weight as it lies on the GPU: one row [width] as stored, padded like a matrix row.
 */
import type { Slice } from '../gpu/buffers.ts'
import { holding } from '../gpu/program.ts'
import { rowBytes, type PlainFormat } from './matrix.ts'
import { wgsl } from './wgsl.ts'

export interface NormWeight {
  readonly slice: Slice
  readonly format: PlainFormat
  readonly width: number
}

/** The text of a kernel that norms rows by a weight of this stored type. */
export function normSource(name: string, weight: NormWeight): string {
  return wgsl(name, `weights-${weight.format}`, 'quads', 'dot', 'row-sum')
}

export function weightBinding(weight: NormWeight): Slice {
  return holding(weight.slice, rowBytes(weight.width, weight.format), 'weight')
}

export function checkWidths(weight: NormWeight, ...parts: readonly { readonly width: number }[]): void {
  const wrong = parts.find((part) => part.width !== weight.width)
  if (wrong !== undefined) throw new RangeError(`Shapes do not fit: weight ${weight.width}, operand ${wrong.width}`)
}
