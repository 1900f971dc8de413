/**
 * What the shaders of latent-scores are given: the same bindings and sizes, whatever their blocks.
 */
import type { Slice } from '../gpu/buffers.ts'
import { holding, type Access } from '../gpu/program.ts'
import type { AttentionRule, LatentAttentionOperands } from './attention-operands.ts'
import { firstItem, SPLIT_TOKENS, TILE_TOKENS } from './attention-plan.ts'
import type { AttentionShape } from './attention-shape.ts'
import { partBytes } from './latent-merge.ts'
import { blockBytes, entryBytes, entryLayout } from './latent-pages.ts'
import { BLOCK_TOKENS, ROW_RECORD_BYTES } from './step-input.ts'

export const SCORES_ACCESS: readonly Access[] = ['read', 'read', 'read', 'read', 'read', 'write']
export const SPLIT_TILES = SPLIT_TOKENS / TILE_TOKENS

/** f32 of one split: [heads / 4, 512 keys then the maxima of 32 each, four heads]. */
export function scoreBytes({ headCount }: AttentionShape): number {
  return Math.ceil(headCount / 4) * 4 * (SPLIT_TOKENS + SPLIT_TOKENS / BLOCK_TOKENS) * 4
}

/** The largest thing that a split leaves between two dispatches: so much of a binding is a slot. */
export function slotBytes(shape: AttentionShape, hasStages: boolean): number {
  return Math.max(partBytes(shape), hasStages ? scoreBytes(shape) : 0)
}

export function scoresConstants({ work }: LatentAttentionOperands, { shape, scale, round }: AttentionRule) {
  return {
    HEADS: shape.headCount,
    SCALE: scale,
    ENTRY_VECTORS: entryLayout(shape).entry / 4,
    FIRST_ITEM: firstItem(round, work),
  }
}

export function scoresBindings(operands: LatentAttentionOperands, shape: AttentionShape): Slice[] {
  const { rows, tables, work, pages, queries, scores } = operands
  return [
    holding(rows, work.rowsMax * ROW_RECORD_BYTES, 'rows'),
    tables,
    work.items,
    holding(pages.slice, pages.blockCount * blockBytes(shape, pages.format), 'pages'),
    holding(queries, work.rowsMax * shape.headCount * entryBytes(shape), 'queries'),
    holding(scores, work.slotCount * scoreBytes(shape), 'scores'),
  ]
}
