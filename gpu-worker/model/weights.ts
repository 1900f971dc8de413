/**
 * The model's weights on the GPU, by layer, as a layout says; values stay as stored.
 *
 * Allocated as a whole before the first byte is read. Knows no tensor's name and no file.
 */
import type { Storage } from '../gpu/buffers.ts'
import type { Gpu } from '../gpu/device.ts'
import type { LayerExperts } from '../kernels/bank.ts'
import type { Matrix } from '../kernels/matrix.ts'
import type { NormWeight } from '../kernels/norm-weight.ts'
import type { AttentionWeights } from '../layers/attention.ts'
import type { DenseMlpWeights } from '../layers/dense-mlp.ts'
import type { ExpertMlpWeights } from '../layers/expert-mlp.ts'
import type { OutputWeights } from '../layers/output.ts'
import type { ModelConfig } from './config.ts'
import type { ExpertSlots } from './expert-slots.ts'
import {
  allocateExperts,
  placeExperts,
  sharedAsExpert,
  type AllocatedExperts,
  type TurnsLayout,
} from './expert-weights.ts'
import type {
  AttentionLayout,
  DenseMlpLayout,
  ExpertMlpLayout,
  LayerLayout,
  MatrixLayout,
  ModelLayout,
} from './layout.ts'
import type { ExpertSize } from './placement.ts'
import type { RowSource } from './row-source.ts'
import { WeightBuffers } from './weight-buffers.ts'

export type LayerWeights = {
  readonly attentionNorm: NormWeight
  readonly attention: AttentionWeights
  readonly mlpNorm: NormWeight
} & (
  | { readonly kind: 'dense'; readonly mlp: DenseMlpWeights }
  | { readonly kind: 'experts'; readonly mlp: ExpertMlpWeights }
)

/** Embedding and output are null where the range does not begin, or end, with the model. */
export interface ModelWeights {
  /** [vocab, hidden] */
  readonly embedding: Matrix | null
  readonly layers: readonly LayerWeights[]
  readonly output: OutputWeights | null
}

export interface AllocatedWeights {
  readonly weights: ModelWeights
  /** Layers whose routed experts take turns, in order; none where all are resident. */
  readonly takingTurns: readonly TurnsLayout[]
  /** Brings the values of all that stays on the GPU; the source stays its owner's to close. Rejects as the source does. */
  readonly fillFrom: (gpu: Gpu, source: RowSource) => Promise<void>
}

/** On memory real or counted. Throws GpuError 'limit' for what no binding holds. */
export function allocateWeights(
  config: ModelConfig,
  layout: ModelLayout,
  memory: Storage,
  expertSlots: ExpertSlots = null,
): AllocatedWeights {
  const target = new WeightBuffers(memory)
  const size = expertSize(config)
  const placement = placeExperts(layout.layers, size, expertSlots, memory.bindingBytesMax)
  const banked = allocateExperts(layout.layers, size, expertSlots, placement, target)
  return {
    weights: allocateModel(config, layout, banked, target),
    takingTurns: banked.flatMap(({ turns }) => turns ?? []),
    fillFrom: (gpu, source) => target.fillFrom(gpu, source),
  }
}

function expertSize({ hiddenSize, moeIntermediateSize }: ModelConfig): ExpertSize {
  return { hiddenSize, width: moeIntermediateSize }
}

function allocateModel(
  config: ModelConfig,
  { embedding, layers, output }: ModelLayout,
  experts: readonly AllocatedExperts[],
  target: WeightBuffers,
): ModelWeights {
  const banked = experts.values()
  const table = embedding === null ? null : target.matrix(embedding)
  return {
    embedding: table,
    layers: layers.map((layer) => allocateLayer(config, layer, banked, target)),
    output:
      output === null
        ? null
        : {
            norm: target.norm(output.norm),
            head: table !== null && output.head === embedding ? table : target.matrix(output.head),
          },
  }
}

function allocateLayer(
  config: ModelConfig,
  layer: LayerLayout,
  banked: Iterator<AllocatedExperts>,
  target: WeightBuffers,
): LayerWeights {
  const shared = {
    attentionNorm: target.norm(layer.attentionNorm),
    attention: allocateAttention(layer.attention, target),
    mlpNorm: target.norm(layer.mlpNorm),
  }
  if (layer.kind === 'dense') {
    const { gateUp, down } = layer.mlp
    return { ...shared, kind: 'dense', mlp: { gateUp: target.matrix(gateUp), down: target.matrix(down) } }
  }
  const own = banked.next()
  if (own.done === true) throw new RangeError(`Layer ${layer.index} has no experts`)
  own.value.request()
  return { ...shared, kind: 'experts', mlp: allocateExpertMlp(config, layer.mlp, own.value.experts, target) }
}

function allocateAttention(
  { project, lowRankQuery, latentNorm, kvB, out }: AttentionLayout,
  target: WeightBuffers,
): AttentionWeights {
  return {
    project: target.matrix(project),
    lowRankQuery:
      lowRankQuery === null ? null : { norm: target.norm(lowRankQuery.norm), up: target.matrix(lowRankQuery.up) },
    latentNorm: target.norm(latentNorm),
    kvB: target.matrix(kvB),
    out: target.matrix(out),
  }
}

function allocateExpertMlp(
  config: ModelConfig,
  mlp: ExpertMlpLayout,
  experts: LayerExperts,
  target: WeightBuffers,
): ExpertMlpWeights {
  const apart = sharedAsExpert(mlp, expertSize(config)) === null ? mlp.shared : null
  return {
    sharedAndRouter: target.matrix(sharedAndRouter(mlp.router, apart)),
    bias: target.vector('router-bias', mlp.bias, config.routedExpertCount),
    experts,
    sharedDown: apart === null ? null : target.matrix(apart.down),
    norm: mlp.norm === null ? null : target.norm(mlp.norm),
  }
}

/** They read the same rows: one product. */
function sharedAndRouter(router: MatrixLayout, shared: DenseMlpLayout | null): MatrixLayout {
  if (shared === null) return router
  const rowCount = router.rowCount + shared.gateUp.rowCount
  return { ...router, rowCount, parts: [...shared.gateUp.parts, ...router.parts] }
}
