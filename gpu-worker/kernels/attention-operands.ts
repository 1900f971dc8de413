/**
 * What every shader of latent attention is given: the same bindings and sizes, whatever its way through the work.
 */
import type { Slice } from '../gpu/buffers.ts'
import { holding, type Access } from '../gpu/program.ts'
import { firstItem, type AttentionWork, type Round } from './attention-plan.ts'
import type { AttentionShape } from './attention-shape.ts'
import { partBytes } from './latent-merge.ts'
import { blockBytes, entryBytes, entryLayout, type LatentPages } from './latent-pages.ts'
import { ROW_RECORD_BYTES } from './step-input.ts'

export interface LatentAttentionOperands {
  readonly rows: Slice
  readonly tables: Slice
  readonly work: AttentionWork
  readonly pages: LatentPages
  /** f32 [rows, heads, entry] */
  readonly queries: Slice
  /** Scores of splits, `scoreBytes` each, and their parts, `partBytes` each. */
  readonly scores: Slice
  readonly parts: Slice
  /** f32 [rows, heads, latent padded to 4] */
  readonly mixed: Slice
}

/** Splits of a round of `planAttention`, or its whole rows; `scale` multiplies every score. */
export interface AttentionRule {
  readonly shape: AttentionShape
  readonly scale: number
  readonly round: Round | 'wholes'
}

/** Heads of one workgroup, but where a shader says otherwise. */
export const HEADS_TOGETHER = 4

/** A tile's 64 scores are compared as 8 times 8. */
const FAN = 8

export const ATTENTION_ACCESS: readonly Access[] = ['read', 'read', 'read', 'read', 'read', 'write', 'write']

export function attentionBindings(operands: LatentAttentionOperands, shape: AttentionShape): Slice[] {
  const { rows, tables, work, pages, queries, parts, mixed } = operands
  if (pages.shape.latent !== shape.latent || pages.shape.rope !== shape.rope) {
    throw new RangeError(`Shapes do not fit: pages of ${pages.shape.latent}+${pages.shape.rope}`)
  }
  const { rowsMax } = work
  return [
    holding(rows, rowsMax * ROW_RECORD_BYTES, 'rows'),
    tables,
    work.items,
    holding(pages.slice, pages.blockCount * blockBytes(shape, pages.format), 'pages'),
    holding(queries, rowsMax * shape.headCount * entryBytes(shape), 'queries'),
    holding(mixed, rowsMax * shape.headCount * entryLayout(shape).ropeStart * 4, 'mixed'),
    holding(parts, work.slotCount * partBytes(shape), 'parts'),
  ]
}

export function attentionConstants({ work }: LatentAttentionOperands, { shape, scale, round }: AttentionRule) {
  const { ropeStart, entry } = entryLayout(shape)
  return {
    HEADS: shape.headCount,
    SCALE: scale,
    ENTRY_VECTORS: entry / 4,
    LATENT_VECTORS: ropeStart / 4,
    FAN,
    FIRST_ITEM: firstItem(round, work),
  }
}
