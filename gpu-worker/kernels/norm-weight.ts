/**
 * A norm's weight as it lies on the GPU, and the two forms that a kernel which norms rows has: one tree, one result.
 */
import type { Slice } from '../gpu/buffers.ts'
import { byWidth, holding, onlyOn, type Dispatch } from '../gpu/program.ts'
import { wgsl, type Include } from './wgsl.ts'

export interface NormWeight {
  /** f32 [width]: widened exactly from whatever is stored, zeros up to a vec4. */
  readonly slice: Slice
  readonly width: number
}

/** Who adds up a row: 512 lanes on a GPU, 8 on a CPU and on GPUs whose workgroups are small. */
export type RowSum = 'row-sum' | 'row-sum-eighths'

export function normForms(form: (sum: RowSum) => Dispatch): Dispatch[] {
  const eighths = form('row-sum-eighths')
  return [
    ...onlyOn('cpu', [eighths]),
    ...onlyOn('gpu', [...byWidth('wide', [form('row-sum')]), ...byWidth('narrow', [eighths])]),
  ]
}

export function normWgsl(name: string, sum: RowSum, ...includes: readonly Include[]): string {
  return wgsl(name, sum, 'row-quads', ...includes)
}

export function weightBinding({ slice, width }: NormWeight): Slice {
  return holding(slice, Math.ceil(width / 4) * 16, 'weight')
}

export function checkWidths(weight: NormWeight, ...parts: readonly { readonly width: number }[]): void {
  const wrong = parts.find((part) => part.width !== weight.width)
  if (wrong !== undefined) throw new RangeError(`Shapes do not fit: weight ${weight.width}, operand ${wrong.width}`)
}
