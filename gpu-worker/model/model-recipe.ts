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
import { attentionShape, firstExpertLayer, routingRule, type Scratch } from './scratch.ts'
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
  /** Embedding and layers: leave x. */
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
  const { config, weights, scratch, rowsMax } = parts
  const { x } = scratch
  const { rows } = scratch.step
  // Where the range ends before the model does no row is fed: any binding will do.
  const sampled = scratch.output?.sampled ?? rows
  const [first] = weights.layers
  const begin = [
    ...(weights.embedding === null ? [] : embed({ rows, sampled, table: weights.embedding, x }, rowsMax)),
    ...(first === undefined ? [] : rmsNorm(x, first.attentionNorm, scratch.normed, config.rmsNormEps, rowsMax)),
  ]
  const layers = weights.layers.flatMap((layer, index) => dispatchesOf(parts, layer, index))
  const output = outputDispatches(parts)
  return { layers: [...overAllRows(begin), ...layers], output }
}

function outputDispatches({ config, weights, scratch, rowsMax, pickedMax }: ModelParts): OutputDispatches | null {
  const { step, x, output } = scratch
  if (weights.output === null || output === null) return null
  const { picked, logits, adjusted, sampled } = output
  const rule = { eps: config.rmsNormEps, rowsMax, pickedMax }
  const dispatches = outputLogits({ step, weights: weights.output, x, picked, logits }, rule)
  return {
    logits: dispatches.map((dispatch) => ({ dispatch, rows: 'picked' })),
    sampler: outputTokens(step, { logits, adjusted, sampled }, pickedMax),
  }
}

/** From `normed`, the residual stream as the layer's first norm left it, to the same for the next layer of the range. */
function dispatchesOf(parts: ModelParts, layer: LayerWeights, index: number): RowDispatch<RowSet>[] {
  const { config, scratch, rowsMax } = parts
  const { step, x, normed, delta } = scratch
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
    ...attention({ step, weights: layer.attention, scratch: scratch.attention, pages, normed, delta }, rule),
    ...overAllRows([
      ...residualNorm({ x, delta, weight: layer.mlpNorm, y: normed }, config.rmsNormEps, rowsMax),
      ...(layer.kind === 'dense' ? denseDispatches(parts, layer, index) : expertDispatches(parts, layer, index)),
    ]),
  ]
}

/** Null behind the range's last layer: what is normed there is rows of the output, or nothing. */
function nextNorm({ weights }: ModelParts, index: number): NormWeight | null {
  return weights.layers[index + 1]?.attentionNorm ?? null
}

function denseDispatches(parts: ModelParts, { mlp }: LayerWeights & { kind: 'dense' }, index: number): Dispatch[] {
  const { config, scratch, rowsMax } = parts
  const { x, normed, delta } = scratch
  if (scratch.dense === null) throw new RangeError('No scratch for dense layers')
  const next = nextNorm(parts, index)
  return [
    ...denseMlp({ weights: mlp, scratch: scratch.dense, normed, delta }, rowsMax),
    ...(next === null
      ? [residualSum(x, delta, rowsMax)]
      : residualNorm({ x, delta, weight: next, y: normed }, config.rmsNormEps, rowsMax)),
  ]
}

function expertDispatches(parts: ModelParts, { mlp }: LayerWeights & { kind: 'experts' }, index: number): Dispatch[] {
  const { config, range, scratch, rowsMax } = parts
  const { x, normed } = scratch
  const chosen = scratch.chosen[range.start + index - firstExpertLayer(config, range)]
  if (scratch.experts === null || chosen === undefined) throw new RangeError('No scratch for expert layers')
  const rule: ExpertMlpRule = { routing: routingRule(config), eps: config.rmsNormEps, rowsMax }
  const routes = { chosen, weights: scratch.experts.routeWeights }
  const next = nextNorm(parts, index)
  return expertMlp({ weights: mlp, scratch: scratch.experts, routes, x, normed, next }, rule)
}
