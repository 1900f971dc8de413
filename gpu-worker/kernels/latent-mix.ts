/**
 * Mixes the entries of rows or of single splits by the scores that latent-scores left. On GPUs.
 *
 * One shader; how many heads, columns and tiles a workgroup has depends on how many mixes there are to fill the GPU with.
 */
import { holding, type Dispatch } from '../gpu/program.ts'
import type { LatentAttentionOperands } from './attention-operands.ts'
import type { Round } from './attention-plan.ts'
import type { AttentionShape } from './attention-shape.ts'
import { partBytes } from './latent-merge.ts'
import { blockBytes, entryLayout } from './latent-pages.ts'
import { scoreBytes } from './score-operands.ts'
import { ROW_RECORD_BYTES } from './step-input.ts'
import { wgsl } from './wgsl.ts'

/** Of a head lane. */
const LANE_HEADS = 8

/** The round's part of `planAttention`. */
export interface MixRule {
  readonly shape: AttentionShape
  readonly round: Round
}

/** How lanes share the work of a workgroup, and the rounds that it is for: of so many mixes. */
export interface MixShape {
  readonly headLanes: number
  readonly columnLanes: number
  readonly tileLanes: 4 | 8
  readonly mixesFrom: number
  readonly mixesTo: number
}

const SHAPES: readonly MixShape[] = [
  { headLanes: 1, columnLanes: 16, tileLanes: 8, mixesFrom: 1, mixesTo: 7 },
  { headLanes: 1, columnLanes: 64, tileLanes: 4, mixesFrom: 8, mixesTo: Infinity },
]

export function latentMix(
  operands: LatentAttentionOperands,
  { shape, round }: MixRule,
  shapes: readonly MixShape[] = SHAPES,
): Dispatch[] {
  const { rows, tables, work, pages, scores, mixed, parts } = operands
  const { headCount } = shape
  const { ropeStart, entry } = entryLayout(shape)
  return shapes.map(({ headLanes, columnLanes, tileLanes, mixesFrom, mixesTo }) => ({
    program: {
      name: 'latent-mix',
      source: wgsl('latent-mix', `pages-${pages.format}`, 'exp', 'attention', 'mix', 'mix-tiles'),
      access: ['read', 'read', 'read', 'read', 'read', 'write', 'write'],
      constants: {
        HEAD_LANES: headLanes,
        COLUMN_LANES: columnLanes,
        TILE_LANES: tileLanes,
        HEADS: headCount,
        ENTRY_VECTORS: entry / 4,
        LATENT_VECTORS: ropeStart / 4,
        FIRST_MIX: round * work.slotCount,
      },
    },
    bindings: [
      holding(rows, work.rowsMax * ROW_RECORD_BYTES, 'rows'),
      tables,
      work.mixes,
      holding(pages.slice, pages.blockCount * blockBytes(shape, pages.format), 'pages'),
      holding(scores, work.slotCount * scoreBytes(shape), 'scores'),
      holding(mixed, work.rowsMax * headCount * ropeStart * 4, 'mixed'),
      holding(parts, work.slotCount * partBytes(shape), 'parts'),
    ],
    grid: (mixes) =>
      mixes < mixesFrom || mixes > mixesTo
        ? null
        : [Math.ceil(headCount / (LANE_HEADS * headLanes)) * Math.ceil(ropeStart / (4 * columnLanes)), mixes, 1],
  }))
}
