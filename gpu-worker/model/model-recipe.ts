/**
 * The model as a list of dispatches, layer by layer, over weights and scratch that already lie on the GPU.
 *
 * Builds the list once; knows nothing of batches.
 */
import type { Dispatch } from '../gpu/program.ts'
import type { RowDispatch } from '../gpu/recipe.ts'
import { embed } from '../kernels/embed.ts'
import type { LatentPages } from '../kernels/latent-pages.ts'
import type { NormWeight } from '../kernels/norm-weight.ts'
import { residualNorm } from '../kernels/residual-norm.ts'
import { rmsNorm } from '../kernels/rms-norm.ts'
import { attention, type AttentionRule } from '../layers/attention.ts'
import { denseMlp } from '../layers/dense-mlp.ts'
import { expertMlp, type ExpertMlpRule } from '../layers/expert-mlp.ts'
import { outputLogits, outputTokens } from '../layers/output.ts'
import type { ModelConfig } from './config.ts'
import { softmaxScale } from './rope.ts'
import { attentionShape, type Scratch } from './scratch.ts'
import type { LayerWeights, ModelWeights } from './weights.ts'

/** All rows of a step, or the rows whose logits are wanted. */
export type RowSet = 'all' | 'picked'

export interface ModelParts {
  readonly config: ModelConfig
  readonly weights: ModelWeights
  readonly scratch: Scratch
  /** One per layer. */
  readonly pages: readonly LatentPages[]
  readonly rowsMax: number
  readonly pickedMax: number
}

/** Embedding and all layers: leaves x and the last delta. */
export function layerDispatches(parts: ModelParts): RowDispatch<RowSet>[] {
  const { weights, scratch, rowsMax } = parts
  const { x } = scratch
  const embedding = embed({ rows: scratch.step.rows, table: weights.embedding, x }, rowsMax)
  const layers = weights.layers.flatMap((layer, index) => dispatchesOf(parts, layer, index))
  return [...embedding, ...layers].map((dispatch) => ({ dispatch, rows: 'all' }))
}

/** Logits of the picked rows; leaves x as it is. */
export function logitDispatches({ config, weights, scratch, rowsMax, pickedMax }: ModelParts): RowDispatch<RowSet>[] {
  const { step, x, delta, picked, logits } = scratch
  const rule = { eps: config.rmsNormEps, rowsMax, pickedMax }
  const dispatches = outputLogits({ step, weights: weights.output, x, delta, picked, logits }, rule)
  return dispatches.map((dispatch) => ({ dispatch, rows: 'picked' }))
}

export function samplerDispatches({ scratch, pickedMax }: ModelParts): RowDispatch<RowSet>[] {
  const dispatch = outputTokens(scratch.step, scratch.logits, scratch.sampled, pickedMax)
  return [{ dispatch, rows: 'picked' }]
}

function dispatchesOf(parts: ModelParts, layer: LayerWeights, index: number): Dispatch[] {
  const { config, scratch, rowsMax } = parts
  const { step, normed, delta } = scratch
  const pages = parts.pages[index]
  if (pages === undefined) throw new RangeError(`No cache for layer ${index}`)
  const rule: AttentionRule = {
    shape: attentionShape(config),
    scale: softmaxScale(config),
    eps: config.rmsNormEps,
    isInterleaved: config.rope.interleaved,
    rowsMax,
  }
  return [
    norm(parts, layer.attentionNorm, index === 0),
    ...attention({ step, weights: layer.attention, scratch: scratch.attention, pages, normed, delta }, rule),
    norm(parts, layer.mlpNorm, false),
    ...mlpDispatches(parts, layer, index),
  ]
}

/** Adds the last delta to the residual stream, except before the first layer, and norms it. */
function norm({ config, scratch, rowsMax }: ModelParts, weight: NormWeight, isFirst: boolean): Dispatch {
  const { x, delta, normed } = scratch
  if (isFirst) return rmsNorm({ activation: x, offset: 0, width: x.width }, weight, normed, config.rmsNormEps, rowsMax)
  return residualNorm({ x, delta, weight, y: normed }, config.rmsNormEps, rowsMax)
}

function mlpDispatches({ config, scratch, rowsMax }: ModelParts, layer: LayerWeights, index: number): Dispatch[] {
  const { normed, delta } = scratch
  if (layer.kind === 'dense') {
    if (scratch.dense === null) throw new RangeError('No scratch for dense layers')
    return denseMlp({ weights: layer.mlp, scratch: scratch.dense, normed, delta }, rowsMax)
  }
  const chosen = scratch.chosen[index - config.denseLayerCount]
  if (scratch.experts === null || chosen === undefined) throw new RangeError('No scratch for expert layers')
  const rule: ExpertMlpRule = {
    routing: {
      expertCount: config.routedExpertCount,
      groupCount: config.groupCount,
      groupsKept: config.groupsPerToken,
      top: config.expertsPerToken,
      isNormalised: config.normTopkProb,
      scaling: config.routedScalingFactor,
    },
    eps: config.rmsNormEps,
    rowsMax,
  }
  const routes = { chosen, weights: scratch.routeWeights }
  return expertMlp({ weights: layer.mlp, scratch: scratch.experts, routes, normed, delta }, rule)
}
