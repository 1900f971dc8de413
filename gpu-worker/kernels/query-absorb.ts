/**
 * Brings each head's query into latent space (q_nope · W_k) and turns its rope part: one dispatch per kv_b window.
 */
import type { Slice } from '../gpu/buffers.ts'
import { holding, type Dispatch } from '../gpu/program.ts'
import { headWindows, rowsPerHead, type AttentionShape } from './attention-shape.ts'
import { entryBytes, entryLayout } from './latent-pages.ts'
import { bytesOfRows, paddedColumns, rowBytes, VALUES_PER_UNIT, type ActivationPart, type Matrix } from './matrix.ts'
import { weightConstants, weightIncludes } from './weight-shader.ts'
import { wgsl } from './wgsl.ts'

const WORKGROUP = 64

export interface QueryAbsorbOperands {
  readonly rope: Slice
  /** f32 [rows, heads · (nope + rope)] */
  readonly q: ActivationPart
  /** [heads · (nope + value), latent] */
  readonly kvB: Matrix
  /** f32 [rows, heads, entry] */
  readonly queries: Slice
}

export function queryAbsorb(
  { rope, q, kvB, queries }: QueryAbsorbOperands,
  shape: AttentionShape,
  isInterleaved: boolean,
  rowsMax: number,
): Dispatch[] {
  if (q.width !== shape.headCount * (shape.nope + shape.rope)) throw new RangeError(`Shapes do not fit: q ${q.width}`)
  const { ropeStart, entry } = entryLayout(shape)
  /** Invocations of a head: units of its latent and pairs of its rope part. */
  const perHead = paddedColumns(shape.latent) / VALUES_PER_UNIT + shape.rope / 2
  return headWindows(kvB, shape).map(({ window, headStart, headCount }) => {
    return {
      program: {
        name: 'query-absorb',
        source: wgsl('query-absorb', ...weightIncludes(shape.latent, window.format), 'rope'),
        access: ['read', 'read', 'read', 'write'],
        constants: {
          NOPE: shape.nope,
          ROPE: shape.rope,
          LATENT: shape.latent,
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
      },
      bindings: [
        holding(rope, rowsMax * shape.rope * 4, 'rope'),
        holding(q.activation.slice, bytesOfRows(q.activation, rowsMax), 'q'),
        holding(window.slice, window.rowCount * rowBytes(shape.latent, window.format), 'kv_b'),
        holding(queries, rowsMax * shape.headCount * entryBytes(shape), 'queries'),
      ],
      grid: (rows) => [Math.ceil((headCount * perHead) / WORKGROUP), rows, 1],
    }
  })
}
