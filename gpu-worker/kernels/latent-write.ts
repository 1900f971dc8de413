/**
 * Takes apart what a row's first projection gave: norms its latent, turns its rope key and writes both to the row's place
 * in the paged cache; norms the low-rank query, if the model has one.
 */
import type { Slice } from '../gpu/buffers.ts'
import { holding, type Dispatch } from '../gpu/program.ts'
import { blockBytes, entryLayout, type LatentPages } from './latent-pages.ts'
import { bytesOfRows, type Activation, type ActivationPart } from './matrix.ts'
import { checkWidths, normForms, normWgsl, weightBinding, type NormWeight } from './norm-weight.ts'
import { ROW_RECORD_BYTES } from './step-input.ts'

export interface LatentWriteOperands {
  readonly rows: Slice
  readonly tables: Slice
  readonly rope: Slice
  /** f32 [rows, latent + rope]: what kv_a_proj_with_mqa gave. */
  readonly kv: ActivationPart
  readonly weight: NormWeight
  readonly pages: LatentPages
  /** Of what q_a_proj gave, the activation's values before `kv`; null in models without a query rank. */
  readonly queryWeight: NormWeight | null
  /** Where the query goes normed; any other activation will do where there is none. */
  readonly query: Activation
}

export function latentWrite(
  { rows, tables, rope, kv, weight, pages, queryWeight, query }: LatentWriteOperands,
  eps: number,
  isInterleaved: boolean,
  rowsMax: number,
): Dispatch[] {
  const { shape, format } = pages
  if (kv.width !== shape.latent + shape.rope || weight.width !== shape.latent || shape.rope % 2 !== 0) {
    throw new RangeError(`Shapes do not fit: kv ${kv.width}, latent ${shape.latent}, rope ${shape.rope}`)
  }
  if (queryWeight !== null) checkWidths(queryWeight, query, { width: kv.offset })
  const layout = entryLayout(shape)
  const projected = kv.activation
  return normForms((sum) => ({
    program: {
      name: 'latent-write',
      source: normWgsl('latent-write', sum, `pages-${format}`, 'rope'),
      access: ['read', 'read', 'read', 'read', 'read', 'read', 'write', 'write'],
      constants: {
        LATENT: shape.latent,
        ROPE: shape.rope,
        LATENT_QUADS: layout.ropeStart / 4,
        ENTRY_QUADS: layout.entry / 4,
        STRIDE: projected.stride,
        LATENT_OFFSET: kv.offset,
        QUERY: kv.offset,
        QUERY_STRIDE: query.stride,
        EPS: eps,
        INTERLEAVED: Number(isInterleaved),
        PER_LATENT: 1 / shape.latent,
        PER_QUERY: 1 / Math.max(1, kv.offset),
      },
    },
    bindings: [
      holding(rows, rowsMax * ROW_RECORD_BYTES, 'rows'),
      tables,
      holding(rope, rowsMax * shape.rope * 4, 'rope'),
      holding(projected.slice, bytesOfRows(projected, rowsMax), 'projected'),
      weightBinding(weight),
      weightBinding(queryWeight ?? weight),
      holding(pages.slice, pages.blockCount * blockBytes(shape, format), 'pages'),
      holding(query.slice, bytesOfRows(query, rowsMax), 'query'),
    ],
    grid: (count) => [count, queryWeight === null ? 1 : 2, 1],
  }))
}
