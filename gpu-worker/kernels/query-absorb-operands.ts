/**
 * What the shaders of query-absorb are given: of each kv_b window the same bindings and sizes.
 */
import type { Slice } from '../gpu/buffers.ts'
import { holding, type Access } from '../gpu/program.ts'
import { headWindows, rowsPerHead, type AttentionShape } from './attention-shape.ts'
import { entryBytes, entryLayout } from './latent-pages.ts'
import { bytesOfRows, rowBytes, type ActivationPart, type Matrix, type WeightFormat } from './matrix.ts'
import { weightConstants } from './weight-shader.ts'

export interface QueryAbsorbOperands {
  readonly rope: Slice
  /** f32 [rows, heads · (nope + rope)] */
  readonly q: ActivationPart
  /** [heads · (nope + value), latent] */
  readonly kvB: Matrix
  /** f32 [rows, heads, entry] */
  readonly queries: Slice
}

export interface QueryAbsorbRule {
  readonly shape: AttentionShape
  readonly isInterleaved: boolean
  readonly rowsMax: number
}

/** Of one dispatch. */
export interface QueryAbsorbWindow {
  readonly format: WeightFormat
  readonly headCount: number
  readonly constants: Readonly<Record<string, number>>
  readonly access: readonly Access[]
  readonly bindings: readonly Slice[]
}

export function queryAbsorbWindows(
  { rope, q, kvB, queries }: QueryAbsorbOperands,
  { shape, isInterleaved, rowsMax }: QueryAbsorbRule,
): QueryAbsorbWindow[] {
  if (q.width !== shape.headCount * (shape.nope + shape.rope)) throw new RangeError(`Shapes do not fit: q ${q.width}`)
  const { ropeStart, entry } = entryLayout(shape)
  return headWindows(kvB, shape).map(({ window, headStart, headCount }) => ({
    format: window.format,
    headCount,
    constants: {
      NOPE: shape.nope,
      ROPE: shape.rope,
      K: shape.latent,
      ROPE_START: ropeStart,
      ENTRY: entry,
      ROWS_PER_HEAD: rowsPerHead(shape),
      ...weightConstants(shape.latent, window.format),
      HEAD_START: headStart,
      WINDOW_HEADS: headCount,
      HEADS: shape.headCount,
      Q_STRIDE: q.activation.stride,
      Q_OFFSET: q.offset,
      INTERLEAVED: Number(isInterleaved),
    },
    access: ['read', 'read', 'read', 'write'],
    bindings: [
      holding(rope, rowsMax * shape.rope * 4, 'rope'),
      holding(q.activation.slice, bytesOfRows(q.activation, rowsMax), 'q'),
      holding(window.slice, window.rowCount * rowBytes(shape.latent, window.format), 'kv_b'),
      holding(queries, rowsMax * shape.headCount * entryBytes(shape), 'queries'),
    ],
  }))
}
