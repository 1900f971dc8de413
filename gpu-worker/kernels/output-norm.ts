/**
 * Norms the picked rows of the residual stream: rms-norm's arithmetic.
 */
import type { Slice } from '../gpu/buffers.ts'
import { holding, type Dispatch } from '../gpu/program.ts'
import { bytesOfRows, type Activation } from './matrix.ts'
import { checkWidths, normForms, normWgsl, weightBinding, type NormWeight } from './norm-weight.ts'

export interface OutputNormOperands {
  /** u32: at most `pickedMax` row numbers. */
  readonly picked: Slice
  readonly x: Activation
  readonly weight: NormWeight
  /** f32 [picked rows, width] */
  readonly y: Activation
}

/** The grid counts picked rows. */
export function outputNorm(
  { picked, x, weight, y }: OutputNormOperands,
  eps: number,
  rowsMax: number,
  pickedMax: number,
): Dispatch[] {
  checkWidths(weight, x, y)
  return normForms((sum) => ({
    program: {
      name: 'output-norm',
      source: normWgsl('output-norm', sum),
      access: ['read', 'read', 'read', 'write'],
      constants: { WIDTH: x.width, VECTORS: x.stride / 4, PER_VALUE: 1 / x.width, EPS: eps },
    },
    bindings: [
      holding(picked, pickedMax * 4, 'picked'),
      holding(x.slice, bytesOfRows(x, rowsMax), 'x'),
      weightBinding(weight),
      holding(y.slice, bytesOfRows(y, pickedMax), 'y'),
    ],
    grid: (rows) => [rows, 1, 1],
  }))
}
