/**
 * What the shaders of latent-mix are given: the same bindings and sizes, whatever their way through the work.
 */
import type { Slice } from '../gpu/buffers.ts'
import { holding, type Access } from '../gpu/program.ts'
import type { LatentAttentionOperands } from './attention-operands.ts'
import type { Round } from './attention-plan.ts'
import type { AttentionShape } from './attention-shape.ts'
import { partBytes } from './latent-merge.ts'
import { blockBytes, entryLayout } from './latent-pages.ts'
import { scoreBytes } from './score-operands.ts'
import { ROW_RECORD_BYTES } from './step-input.ts'

/** The round's part of `planAttention`. */
export interface MixRule {
  readonly shape: AttentionShape
  readonly round: Round
}

export const MIX_ACCESS: readonly Access[] = ['read', 'read', 'read', 'read', 'read', 'write', 'write']

export function mixConstants({ work }: LatentAttentionOperands, { shape, round }: MixRule) {
  const { ropeStart, entry } = entryLayout(shape)
  return {
    HEADS: shape.headCount,
    ENTRY_VECTORS: entry / 4,
    LATENT_VECTORS: ropeStart / 4,
    FIRST_MIX: round * work.slotCount,
  }
}

export function mixBindings(operands: LatentAttentionOperands, shape: AttentionShape): Slice[] {
  const { rows, tables, work, pages, scores, mixed, parts } = operands
  return [
    holding(rows, work.rowsMax * ROW_RECORD_BYTES, 'rows'),
    tables,
    work.mixes,
    holding(pages.slice, pages.blockCount * blockBytes(shape, pages.format), 'pages'),
    holding(scores, work.slotCount * scoreBytes(shape), 'scores'),
    holding(mixed, work.rowsMax * shape.headCount * entryLayout(shape).ropeStart * 4, 'mixed'),
    holding(parts, work.slotCount * partBytes(shape), 'parts'),
  ]
}
