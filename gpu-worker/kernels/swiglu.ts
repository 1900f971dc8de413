/**
 * SwiGLU of two parts of one activation: what a stacked gate and up projection gave.
 */
import { holding, type Dispatch } from '../gpu/program.ts'
import { bytesOfRows, type Activation, type ActivationPart } from './matrix.ts'
import { wgsl } from './wgsl.ts'

const WORKGROUP = 64

/** `gate` and `up` are parts of the same activation. */
export function swiglu(gate: ActivationPart, up: ActivationPart, y: Activation, rowsMax: number): Dispatch {
  if (gate.activation !== up.activation || gate.width !== y.width || up.width !== y.width) {
    throw new RangeError(`Shapes do not fit: gate ${gate.width}, up ${up.width}, y ${y.width}`)
  }
  const x = gate.activation
  return {
    program: {
      name: 'swiglu',
      source: wgsl('swiglu', 'exp'),
      access: ['read', 'write'],
      constants: {
        WIDTH: y.width,
        X_STRIDE: x.stride,
        GATE_OFFSET: gate.offset,
        UP_OFFSET: up.offset,
        Y_STRIDE: y.stride,
      },
    },
    bindings: [holding(x.slice, bytesOfRows(x, rowsMax), 'x'), holding(y.slice, bytesOfRows(y, rowsMax), 'y')],
    grid: (rows) => [Math.ceil(y.width / WORKGROUP), rows, 1],
  }
}
