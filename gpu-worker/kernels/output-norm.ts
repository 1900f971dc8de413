/**
 * Norms the picked rows of residual stream plus last delta, and changes neither: residual-norm's arithmetic.
 */
import type { Slice } from '../gpu/buffers.ts'
import { holding, type Dispatch } from '../gpu/program.ts'
import { bytesOfRows } from './matrix.ts'
import { checkWidths, normSource, weightBinding } from './norm-weight.ts'
import type { ResidualNormOperands } from './residual-norm.ts'

/** `picked` holds at most `pickedMax` row numbers; the grid counts picked rows. */
export function outputNorm(
  { x, delta, weight, y, picked }: ResidualNormOperands & { readonly picked: Slice },
  eps: number,
  rowsMax: number,
  pickedMax: number,
): Dispatch {
  checkWidths(weight, x, delta, y)
  return {
    program: {
      name: 'output-norm',
      source: normSource('output-norm', weight),
      access: ['read', 'read', 'read', 'read', 'write'],
      constants: { WIDTH: x.width, STRIDE: x.stride, PER_VALUE: 1 / x.width, EPS: eps },
    },
    bindings: [
      holding(picked, pickedMax * 4, 'picked'),
      holding(x.slice, bytesOfRows(x, rowsMax), 'x'),
      holding(delta.slice, bytesOfRows(delta, rowsMax), 'delta'),
      weightBinding(weight),
      holding(y.slice, bytesOfRows(y, pickedMax), 'y'),
    ],
    grid: (rows) => [rows, 1, 1],
  }
}
