/**
 * What the shaders of value-up are given: of each kv_b window the same bindings and sizes.
 */
import type { Slice } from '../gpu/buffers.ts'
import { holding, type Access } from '../gpu/program.ts'
import { headWindows, type AttentionShape } from './attention-shape.ts'
import { entryLayout } from './latent-pages.ts'
import { bytesOfRows, paddedColumns, rowBytes, type Activation, type Matrix, type WeightFormat } from './matrix.ts'
import { weightConstants } from './weight-shader.ts'

export interface ValueUpOperands {
  /** f32 [rows, heads, latent padded to 4], `mixedBytes` */
  readonly mixed: Slice
  /** [heads · (nope + value), latent] */
  readonly kvB: Matrix
  /** f32 [rows, heads · value] */
  readonly y: Activation
}

/** Products read whole units of eight values: of the last head's, too, past a latent padded to 4. */
export function mixedBytes(shape: AttentionShape, rowsMax: number): number {
  return ((rowsMax * shape.headCount - 1) * entryLayout(shape).ropeStart + paddedColumns(shape.latent)) * 4
}

/** Of one dispatch. */
export interface ValueUpWindow {
  readonly format: WeightFormat
  readonly headCount: number
  readonly constants: Readonly<Record<string, number>>
  readonly access: readonly Access[]
  readonly bindings: readonly Slice[]
}

export function valueUpWindows(
  { mixed, kvB, y }: ValueUpOperands,
  shape: AttentionShape,
  rowsMax: number,
): ValueUpWindow[] {
  if (y.width !== shape.headCount * shape.value) throw new RangeError(`Shapes do not fit: y ${y.width}`)
  const { ropeStart } = entryLayout(shape)
  return headWindows(kvB, shape).map(({ window, headStart, headCount }) => ({
    format: window.format,
    headCount,
    constants: {
      NOPE: shape.nope,
      VALUE: shape.value,
      K: shape.latent,
      MIXED_VECTORS: ropeStart / 4,
      ...weightConstants(shape.latent, window.format),
      HEAD_START: headStart,
      WINDOW_HEADS: headCount,
      HEADS: shape.headCount,
      Y_STRIDE: y.stride,
    },
    access: ['read', 'read', 'write'],
    bindings: [
      holding(mixed, mixedBytes(shape, rowsMax), 'mixed'),
      holding(window.slice, window.rowCount * rowBytes(shape.latent, window.format), 'kv_b'),
      holding(y.slice, bytesOfRows(y, rowsMax), 'y'),
    ],
  }))
}
