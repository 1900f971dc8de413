/**
 * A range of the model's layers as lists of dispatches, over weights and scratch that are laid out already.
 *
 * Builds the lists once; knows nothing of batches.
 */
import type { Dispatch } from '../gpu/program.ts'
import type { RowDispatch } from '../gpu/recipe.ts'
import { embed } from '../kernels/embed.ts'
import type { LatentPages } from '../kernels/latent-pages.ts'
import type { NormWeight } from '../kernels/norm-weight.ts'
import { residualNorm } from '../kernels/residual-norm.ts'
import { residualSum } from '../kernels/residual-sum.ts'
import { rmsNorm } from '../kernels/rms-norm.ts'
import type { AttentionRowSet } from '../kernels/attention-plan.ts'
import { attention, overAllRows, type AttentionRule } from '../layers/attention.ts'
import { denseMlp } from '../layers/dense-mlp.ts'
import { expertMlp, type ExpertMlpRule } from '../layers/expert-mlp.ts'
import { outputLogits, outputTokens, type SampledRowSet } from '../layers/output.ts'
import type { ModelConfig } from './config.ts'
import type { LayerRange } from './layout.ts'
import { softmaxScale } from './rope.ts'
import { attentionShape, firstExpertLayer, type Scratch } from './scratch.ts'
import type { LayerWeights, ModelWeights } from './weights.ts'

/** All rows of a step, the rows whose logits are wanted, those again as they are sampled, or what attention works on. */
export type RowSet = 'all' | 'picked' | SampledRowSet | AttentionRowSet

export interface ModelParts {
  readonly config: ModelConfig
  readonly range: LayerRange
  readonly weights: ModelWeights
  readonly scratch: Scratch
  /** One per layer of the range. */
  readonly pages: readonly LatentPages[]
  readonly rowsMax: number
  readonly pickedMax: number
}

/** What a step runs: all of it over all rows, then the output over the picked ones. */
export interface ModelDispatches {
  /** Embedding and layers: leave x and the last delta; where the range ends before the model does, x takes it in. */
  readonly layers: RowDispatch<RowSet>[]
  /** Null where the range ends before the model does. */
  readonly output: OutputDispatches | null
}

export interface OutputDispatches {
  /** Logits of the picked rows; leaves x as it is. */
  readonly logits: RowDispatch<RowSet>[]
  readonly sampler: RowDispatch<RowSet>[]
}

export function modelDispatches(parts: ModelParts): ModelDispatches {
  const { weights, scratch, rowsMax } = parts
  const { x, delta } = scratch
  const { rows } = scratch.step
  // Where the range ends before the model does no row is fed: any binding will do.
  const sampled = scratch.output?.sampled ?? rows
  const embedding = weights.embedding === null ? [] : embed({ rows, sampled, table: weights.embedding, x }, rowsMax)
  const layers = weights.layers.flatMap((layer, index) => dispatchesOf(parts, layer, index))
  const output = outputDispatches(parts)
  const end = output === null ? [residualSum(x, delta, rowsMax)] : []
  return { layers: [...overAllRows(embedding), ...layers, ...overAllRows(end)], output }
}

function outputDispatches({ config, weights, scratch, rowsMax, pickedMax }: ModelParts): OutputDispatches | null {
  const { step, x, delta, output } = scratch
  if (weights.output === null || output === null) return null
  const { picked, logits, adjusted, sampled } = output
  const rule = { eps: config.rmsNormEps, rowsMax, pickedMax }
  const dispatches = outputLogits({ step, weights: weights.output, x, delta, picked, logits }, rule)
  return {
    logits: dispatches.map((dispatch) => ({ dispatch, rows: 'picked' })),
    sampler: outputTokens(step, { logits, adjusted, sampled }, pickedMax),
  }
}

function dispatchesOf(parts: ModelParts, layer: LayerWeights, index: number): RowDispatch<RowSet>[] {
  const { config, scratch, rowsMax } = parts
  const { step, normed, delta } = scratch
  const pages = parts.pages[index]
  if (pages === undefined) throw new RangeError(`No cache for layer ${index}`)
  const rule: AttentionRule = {
    shape: attentionShape(config),
    scale: softmaxScale(config),
    eps: config.latentNormEps,
    isInterleaved: config.rope.interleaved,
    rowsMax,
  }
  return [
    ...overAllRows([norm(parts, layer.attentionNorm, index === 0)]),
    ...attention({ step, weights: layer.attention, scratch: scratch.attention, pages, normed, delta }, rule),
    ...overAllRows([norm(parts, layer.mlpNorm, false), ...mlpDispatches(parts, layer, index)]),
  ]
}

/** Adds the last delta to the residual stream, except before the range's first layer, and norms it. */
function norm({ config, scratch, rowsMax }: ModelParts, weight: NormWeight, isFirst: boolean): Dispatch {
  const { x, delta, normed } = scratch
  if (isFirst) return rmsNorm({ activation: x, offset: 0, width: x.width }, weight, normed, config.rmsNormEps, rowsMax)
  return residualNorm({ x, delta, weight, y: normed }, config.rmsNormEps, rowsMax)
}

function mlpDispatches(parts: ModelParts, layer: LayerWeights, index: number): Dispatch[] {
  const { config, range, scratch, rowsMax } = parts
  const { normed, delta } = scratch
  if (layer.kind === 'dense') {
    if (scratch.dense === null) throw new RangeError('No scratch for dense layers')
    return denseMlp({ weights: layer.mlp, scratch: scratch.dense, normed, delta }, rowsMax)
  }
  const chosen = scratch.chosen[range.start + index - firstExpertLayer(config, range)]
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
  const routes = { chosen, weights: scratch.experts.routeWeights }
  return expertMlp({ weights: layer.mlp, scratch: scratch.experts, routes, normed, delta }, rule)
}
