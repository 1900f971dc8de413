/**
 * Mixes the entries of rows or of single splits by the scores that latent-scores left. On GPUs.
 *
 * Two shaders, one arithmetic: tiles side by side while mixes are few; one after the other, by many small workgroups, from
 * then on.
 */
import type { Dispatch } from '../gpu/program.ts'
import type { LatentAttentionOperands } from './attention-operands.ts'
import { latentMixTile } from './latent-mix-tile.ts'
import { entryLayout } from './latent-pages.ts'
import { MIX_ACCESS, mixBindings, mixConstants, type MixRule } from './mix-operands.ts'
import { wgsl } from './wgsl.ts'

/** Of a head lane. */
const LANE_HEADS = 8
/** From so many mixes on small workgroups fill a GPU. */
const TILES_FROM = 24

/** How lanes share the work of a workgroup. */
export interface MixLanes {
  readonly headLanes: number
  readonly columnLanes: number
  readonly tileLanes: 4 | 8
}

const FEW_LANES: MixLanes = { headLanes: 1, columnLanes: 16, tileLanes: 8 }

export function latentMix(operands: LatentAttentionOperands, rule: MixRule): Dispatch[] {
  return [latentMixFew(operands, rule, FEW_LANES, TILES_FROM), latentMixTile(operands, rule, TILES_FROM)]
}

/** For rounds of fewer than `mixesBelow` mixes. */
export function latentMixFew(
  operands: LatentAttentionOperands,
  rule: MixRule,
  { headLanes, columnLanes, tileLanes }: MixLanes,
  mixesBelow: number,
): Dispatch {
  const { shape } = rule
  const groups = Math.ceil(shape.headCount / (LANE_HEADS * headLanes))
  const slices = Math.ceil(entryLayout(shape).ropeStart / (4 * columnLanes))
  return {
    program: {
      name: 'latent-mix',
      source: wgsl('latent-mix', `pages-${operands.pages.format}`, 'exp', 'attention', 'mix', 'mix-tiles'),
      access: MIX_ACCESS,
      constants: {
        ...mixConstants(operands, rule),
        HEAD_LANES: headLanes,
        COLUMN_LANES: columnLanes,
        TILE_LANES: tileLanes,
      },
    },
    bindings: mixBindings(operands, shape),
    grid: (mixes) => (mixes < mixesBelow ? [groups * slices, mixes, 1] : null),
  }
}
