/**
 * Mixes the entries of splits by the scores that latent-scores left. On GPUs.
 *
 * One shader; how many heads, columns and tiles a workgroup has depends on how many splits there are to fill the GPU with.
 */
import { holding, type Dispatch } from '../gpu/program.ts'
import type { AttentionRule, LatentAttentionOperands } from './attention-operands.ts'
import { firstItem } from './attention-plan.ts'
import { partBytes } from './latent-merge.ts'
import { blockBytes, entryLayout } from './latent-pages.ts'
import { scoreBytes } from './score-operands.ts'
import { ROW_RECORD_BYTES } from './step-input.ts'
import { wgsl } from './wgsl.ts'

/** Of a head lane. */
const LANE_HEADS = 8

/** How lanes share the work of a workgroup; `splits`: of the round. */
export interface MixShape {
  readonly headLanes: number
  readonly columnLanes: number
  readonly tileLanes: number
  readonly splitsFrom: number
  readonly splitsTo: number
}

const SHAPES: readonly MixShape[] = [
  { headLanes: 1, columnLanes: 16, tileLanes: 8, splitsFrom: 1, splitsTo: 15 },
  { headLanes: 2, columnLanes: 32, tileLanes: 4, splitsFrom: 16, splitsTo: Infinity },
]

export function latentMix(
  operands: LatentAttentionOperands,
  rule: AttentionRule,
  shapes: readonly MixShape[] = SHAPES,
): Dispatch[] {
  const { rows, tables, work, pages, scores, parts } = operands
  const { shape, round } = rule
  const { headCount } = shape
  const { ropeStart, entry } = entryLayout(shape)
  return shapes.map(({ headLanes, columnLanes, tileLanes, splitsFrom, splitsTo }) => ({
    program: {
      name: 'latent-mix',
      source: wgsl('latent-mix', `pages-${pages.format}`, 'exp', 'attention', 'mix'),
      access: ['read', 'read', 'read', 'read', 'read', 'write'],
      constants: {
        HEAD_LANES: headLanes,
        COLUMN_LANES: columnLanes,
        TILE_LANES: tileLanes,
        HEADS: headCount,
        ENTRY_VECTORS: entry / 4,
        LATENT_VECTORS: ropeStart / 4,
        FIRST_ITEM: firstItem(round, work),
      },
    },
    bindings: [
      holding(rows, work.rowsMax * ROW_RECORD_BYTES, 'rows'),
      tables,
      work.items,
      holding(pages.slice, pages.blockCount * blockBytes(shape, pages.format), 'pages'),
      holding(scores, work.slotCount * scoreBytes(shape), 'scores'),
      holding(parts, work.slotCount * partBytes(shape), 'parts'),
    ],
    grid: (splits) =>
      splits < splitsFrom || splits > splitsTo
        ? null
        : [Math.ceil(headCount / (LANE_HEADS * headLanes)) * Math.ceil(ropeStart / (4 * columnLanes)), splits, 1],
  }))
}
