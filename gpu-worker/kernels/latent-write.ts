/**
 * Norms a row's latent, turns its rope key and writes both to the row's place in the paged cache.
 */
import type { Slice } from '../gpu/buffers.ts'
import { holding, type Dispatch } from '../gpu/program.ts'
import { blockBytes, entryLayout, type LatentPages } from './latent-pages.ts'
import { bytesOfRows, type ActivationPart } from './matrix.ts'
import type { NormWeight } from './norm-weight.ts'
import { ROW_RECORD_BYTES } from './step-input.ts'
import { rowBytes } from './matrix.ts'
import { wgsl } from './wgsl.ts'

export interface LatentWriteOperands {
  readonly rows: Slice
  readonly tables: Slice
  readonly rope: Slice
  /** f32 [rows, latent + rope]: what kv_a_proj_with_mqa gave. */
  readonly kv: ActivationPart
  readonly weight: NormWeight
  readonly pages: LatentPages
}

export function latentWrite(
  { rows, tables, rope, kv, weight, pages }: LatentWriteOperands,
  eps: number,
  isInterleaved: boolean,
  rowsMax: number,
): Dispatch {
  const { shape, format } = pages
  if (kv.width !== shape.latent + shape.rope || weight.width !== shape.latent || shape.rope % 2 !== 0) {
    throw new RangeError(`Shapes do not fit: kv ${kv.width}, latent ${shape.latent}, rope ${shape.rope}`)
  }
  const layout = entryLayout(shape)
  return {
    program: {
      name: 'latent-write',
      source: wgsl('latent-write', `pages-${format}`, `weights-${weight.format}`, 'quads', 'dot', 'row-sum', 'rope'),
      access: ['read', 'read', 'read', 'read', 'read', 'write'],
      constants: {
        LATENT: shape.latent,
        ROPE: shape.rope,
        LATENT_QUADS: layout.ropeStart / 4,
        ENTRY_QUADS: layout.entry / 4,
        KV_STRIDE: kv.activation.stride,
        LATENT_OFFSET: kv.offset,
        PER_VALUE: 1 / shape.latent,
        EPS: eps,
        INTERLEAVED: Number(isInterleaved),
      },
    },
    bindings: [
      holding(rows, rowsMax * ROW_RECORD_BYTES, 'rows'),
      tables,
      holding(rope, rowsMax * shape.rope * 4, 'rope'),
      holding(kv.activation.slice, bytesOfRows(kv.activation, rowsMax), 'kv'),
      holding(weight.slice, rowBytes(weight.width, weight.format), 'weight'),
      holding(pages.slice, pages.blockCount * blockBytes(shape, format), 'pages'),
    ],
    grid: (count) => [count, 1, 1],
  }
}
