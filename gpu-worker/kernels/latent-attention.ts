/**
 * Multi-head latent attention over the paged cache, in absorbed form: queries and outputs live in latent space.
 */
import type { Slice } from '../gpu/buffers.ts'
import { holding, type Dispatch } from '../gpu/program.ts'
import type { RowDispatch } from '../gpu/recipe.ts'
import { itemsPerRound, ROUNDS, type AttentionRowSet, type AttentionWork, type Round } from './attention-plan.ts'
import type { AttentionShape } from './attention-shape.ts'
import { latentMerge, partBytes } from './latent-merge.ts'
import { blockBytes, entryBytes, entryLayout, type LatentPages } from './latent-pages.ts'
import { ROW_RECORD_BYTES } from './step-input.ts'
import { wgsl } from './wgsl.ts'

/** 64 scores are compared as 8 times 8. */
const FAN = 8
/** Heads of one workgroup. */
const HEADS_TOGETHER = 4

export interface LatentAttentionOperands {
  readonly rows: Slice
  readonly tables: Slice
  readonly work: AttentionWork
  readonly pages: LatentPages
  /** f32 [rows, heads, entry] */
  readonly queries: Slice
  /** Parts of splits: `partBytes` each. */
  readonly parts: Slice
  /** f32 [rows, heads, latent padded to 4] */
  readonly mixed: Slice
}

/** Round by round, what `planAttention` says; `scale` multiplies every score. */
export function latentAttention(
  operands: LatentAttentionOperands,
  shape: AttentionShape,
  scale: number,
): RowDispatch<AttentionRowSet>[] {
  return ROUNDS.flatMap((round) => [
    { dispatch: attend(operands, shape, scale, round), rows: `items-${round}` as const },
    { dispatch: latentMerge(operands, shape, round), rows: `merges-${round}` as const },
  ])
}

function attend(
  { rows, tables, work, pages, queries, parts, mixed }: LatentAttentionOperands,
  shape: AttentionShape,
  scale: number,
  round: Round,
): Dispatch {
  const { ropeStart, entry } = entryLayout(shape)
  if (pages.shape.latent !== shape.latent || pages.shape.rope !== shape.rope) {
    throw new RangeError(`Shapes do not fit: pages of ${pages.shape.latent}+${pages.shape.rope}`)
  }
  const { rowsMax } = work
  return {
    program: {
      name: 'latent-attention',
      source: wgsl('latent-attention', `pages-${pages.format}`, 'exp', 'quads'),
      access: ['read', 'read', 'read', 'read', 'read', 'write', 'write'],
      constants: {
        HEADS: shape.headCount,
        SCALE: scale,
        ENTRY_VECTORS: entry / 4,
        LATENT_VECTORS: ropeStart / 4,
        QUERY_CELLS: HEADS_TOGETHER * (entry / 4),
        OUT_CELLS: HEADS_TOGETHER * (ropeStart / 4 + 1),
        FAN,
        FIRST_ITEM: round * itemsPerRound(work),
      },
    },
    bindings: [
      holding(rows, rowsMax * ROW_RECORD_BYTES, 'rows'),
      tables,
      work.items,
      holding(pages.slice, pages.blockCount * blockBytes(shape, pages.format), 'pages'),
      holding(queries, rowsMax * shape.headCount * entryBytes(shape), 'queries'),
      holding(mixed, rowsMax * shape.headCount * ropeStart * 4, 'mixed'),
      holding(parts, work.slotCount * partBytes(shape), 'parts'),
    ],
    grid: (items) => [Math.ceil(shape.headCount / HEADS_TOGETHER), items, 1],
  }
}
