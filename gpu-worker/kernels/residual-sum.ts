/**
 * Adds the last layer's result to the residual stream where no norm follows: at the end of a stage.
 */
import { holding, type Dispatch } from '../gpu/program.ts'
import { bytesOfRows, type Activation } from './matrix.ts'
import { wgsl } from './wgsl.ts'

const WORKGROUP = 64

/** `x` takes in `delta`: residual-norm's sum, bit for bit. */
export function residualSum(x: Activation, delta: Activation, rowsMax: number): Dispatch {
  if (x.width !== delta.width) throw new RangeError(`Shapes do not fit: x ${x.width}, delta ${delta.width}`)
  return {
    program: {
      name: 'residual-sum',
      source: wgsl('residual-sum'),
      access: ['write', 'read'],
      constants: { WIDTH: x.width, STRIDE: x.stride },
    },
    bindings: [
      holding(x.slice, bytesOfRows(x, rowsMax), 'x'),
      holding(delta.slice, bytesOfRows(delta, rowsMax), 'delta'),
    ],
    grid: (rows) => [Math.ceil(x.width / WORKGROUP), rows, 1],
  }
}
