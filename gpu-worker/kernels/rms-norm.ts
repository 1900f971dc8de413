/**
 * RMSNorm of rows. `eps` is added to the mean of squares; division by the root, not a reciprocal root.
 */
import { holding, type Dispatch } from '../gpu/program.ts'
import { bytesOfRows, type Activation } from './matrix.ts'
import { checkWidths, normForms, normWgsl, weightBinding, type NormWeight } from './norm-weight.ts'

export function rmsNorm(x: Activation, weight: NormWeight, y: Activation, eps: number, rowsMax: number): Dispatch[] {
  checkWidths(weight, x, y)
  const constants = {
    WIDTH: x.width,
    X_VECTORS: x.stride / 4,
    Y_VECTORS: y.stride / 4,
    PER_VALUE: 1 / x.width,
    EPS: eps,
  }
  return normForms((sum) => ({
    program: { name: 'rms-norm', source: normWgsl('rms-norm', sum), access: ['read', 'read', 'write'], constants },
    bindings: [
      holding(x.slice, bytesOfRows(x, rowsMax), 'x'),
      weightBinding(weight),
      holding(y.slice, bytesOfRows(y, rowsMax), 'y'),
    ],
    grid: (rows) => [rows, 1, 1],
  }))
}
