/**
 * Brings each head's mixed latent to its value (W_v): one dispatch per kv_b window.
 */
import type { Slice } from '../gpu/buffers.ts'
import { holding, type Dispatch } from '../gpu/program.ts'
import { headWindows, type AttentionShape } from './attention-shape.ts'
import { entryLayout } from './latent-pages.ts'
import { bytesOfRows, rowBytes, type Activation, type Matrix } from './matrix.ts'
import { weightConstants, weightIncludes } from './weight-shader.ts'
import { wgsl } from './wgsl.ts'

const WORKGROUP = 64

export interface ValueUpOperands {
  /** f32 [rows, heads, latent padded to 4] */
  readonly mixed: Slice
  /** [heads · (nope + value), latent] */
  readonly kvB: Matrix
  /** f32 [rows, heads · value] */
  readonly y: Activation
}

export function valueUp({ mixed, kvB, y }: ValueUpOperands, shape: AttentionShape, rowsMax: number): Dispatch[] {
  if (y.width !== shape.headCount * shape.value) throw new RangeError(`Shapes do not fit: y ${y.width}`)
  const { ropeStart } = entryLayout(shape)
  return headWindows(kvB, shape).map(({ window, headStart, headCount }) => {
    return {
      program: {
        name: 'value-up',
        source: wgsl('value-up', ...weightIncludes(shape.latent, window.format)),
        access: ['read', 'read', 'write'],
        constants: {
          NOPE: shape.nope,
          VALUE: shape.value,
          LATENT: shape.latent,
          MIXED_VECTORS: ropeStart / 4,
          ...weightConstants(shape.latent, window.format),
          HEAD_START: headStart,
          WINDOW_HEADS: headCount,
          HEADS: shape.headCount,
          Y_STRIDE: y.stride,
        },
      },
      bindings: [
        holding(mixed, rowsMax * shape.headCount * ropeStart * 4, 'mixed'),
        holding(window.slice, window.rowCount * rowBytes(shape.latent, window.format), 'kv_b'),
        holding(y.slice, bytesOfRows(y, rowsMax), 'y'),
      ],
      grid: (rows) => [Math.ceil((headCount * Math.ceil(shape.value / 4)) / WORKGROUP), rows, 1],
    }
  })
}
