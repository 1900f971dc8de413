/**
 * What a layout's weights weigh: bytes on the GPU by kind, and parameters, all and those that one token uses.
 *
 * It knows no tensor by name; a layout says what each weight is.
 */
import { rowBytes } from '../kernels/matrix.ts'
import type { ExpertSlots } from './expert-slots.ts'
import type { DenseMlpLayout, ExpertMlpLayout, MatrixLayout, MatrixPart, ModelLayout, VectorLayout } from './layout.ts'
import type { TensorInfo } from './safetensors.ts'

export const WEIGHT_KINDS = [
  'embedding',
  'attention',
  'denseMlp',
  'router',
  'sharedExperts',
  'routedExperts',
  'norms',
  'head',
] as const

export type WeightKind = (typeof WEIGHT_KINDS)[number]
export type BytesByKind = Readonly<Record<WeightKind, number>>

export type LayoutItem = { readonly kind: WeightKind } & (
  | { readonly shape: 'matrix'; readonly part: MatrixPart }
  | { readonly shape: 'vector'; readonly vector: VectorLayout }
)

/**
 * Bytes of the row records on the GPU, by kind: what loading allocates, to the byte. `expertSlots`: a layer's, for routed
 * experts that take turns; they are alike.
 */
export function layoutBytes(layout: ModelLayout, expertSlots: ExpertSlots = null): BytesByKind {
  const bytes = emptyCounts()
  for (const item of itemsOf(layout)) {
    if (item.shape === 'matrix') bytes[item.kind] += partBytes(item.part)
    else if (item.kind === 'norms') bytes.norms += vectorBytes(item.vector.width)
  }
  for (const layer of layout.layers) {
    if (layer.kind !== 'experts') continue
    const { experts } = layer.mlp
    bytes.router += routingTableBytes(layer.mlp)
    for (const { gate, up, down } of expertSlots === null ? [] : experts.slice(expertSlots)) {
      bytes.routedExperts -= partBytes(gate) + partBytes(up) + partBytes(down)
    }
  }
  return bytes
}

function partBytes({ weight, rowCount }: MatrixPart): number {
  return rowCount * rowBytes(weight.columnCount, weight.format)
}

/** Bytes on disk of all tensors that a layout reads. */
export function storedBytes(layout: ModelLayout, tensors: ReadonlyMap<string, TensorInfo>): number {
  const used = new Set<string | null>()
  for (const item of itemsOf(layout)) {
    if (item.shape === 'vector') used.add(item.vector.tensor)
    else {
      const { values, scales, zeroPoints } = item.part.weight
      used.add(values).add(scales).add(zeroPoints)
    }
  }
  return [...used].reduce((sum, name) => sum + (tensors.get(name ?? '')?.byteLength ?? 0), 0)
}

/** The router's bias, also where zeros stand for it, and the table of the experts' places: vec2<u32>. */
function routingTableBytes({ experts, shared }: ExpertMlpLayout): number {
  return vectorBytes(experts.length) + vectorBytes(2 * (experts.length + Number(shared !== null)))
}

/** Of that many words, in whole vec4s: norms are f32 on the GPU. */
function vectorBytes(width: number): number {
  return 16 * Math.ceil(width / 4)
}

/**
 * Parameters by kind; active: what one token's forward pass uses, embedding table and head included. Tied weights count
 * once. What no kind holds (`unusedCount`: dense layers' norms after the MLP, stored and ignored) counts, but is not active.
 */
export function parameterCounts(
  layout: Omit<ModelLayout, 'parameters'>,
  expertsPerToken: number,
  unusedCount: number,
): ModelLayout['parameters'] {
  let [total, active] = [unusedCount, 0]
  for (const item of itemsOf(layout)) {
    const count = item.shape === 'matrix' ? item.part.rowCount * item.part.weight.columnCount : item.vector.width
    total += count
    if (item.kind !== 'routedExperts') active += count
  }
  for (const layer of layout.layers) {
    if (layer.kind !== 'experts') continue
    const [expert] = layer.mlp.experts
    if (expert === undefined) continue
    const parts = [expert.gate, expert.up, expert.down]
    active += expertsPerToken * parts.reduce((sum, { rowCount, weight }) => sum + rowCount * weight.columnCount, 0)
  }
  return { total, active }
}

/** Every weight of a layout, once. */
export function* itemsOf(layout: Omit<ModelLayout, 'parameters'>): Generator<LayoutItem> {
  const { embedding, layers, output } = layout
  if (embedding !== null) yield* matrixItems('embedding', embedding)
  for (const layer of layers) {
    const { attention, attentionNorm, mlpNorm } = layer
    yield* vectorItems('norms', [attentionNorm, mlpNorm, attention.latentNorm])
    yield* matrixItems('attention', attention.project)
    if (attention.lowRankQuery !== null) {
      yield* vectorItems('norms', [attention.lowRankQuery.norm])
      yield* matrixItems('attention', attention.lowRankQuery.up)
    }
    yield* matrixItems('attention', attention.kvB)
    yield* matrixItems('attention', attention.out)
    if (layer.kind === 'dense') {
      yield* mlpItems('denseMlp', layer.mlp)
      continue
    }
    const { router, bias, shared, experts, norm } = layer.mlp
    yield* matrixItems('router', router)
    yield* vectorItems('router', bias === null ? [] : [bias])
    if (shared !== null) yield* mlpItems('sharedExperts', shared)
    for (const { gate, up, down } of experts) {
      for (const part of [gate, up, down]) yield { kind: 'routedExperts', shape: 'matrix', part }
    }
    yield* vectorItems('norms', norm === null ? [] : [norm])
  }
  if (output === null) return
  yield* vectorItems('norms', [output.norm])
  if (output.head !== embedding) yield* matrixItems('head', output.head)
}

function* mlpItems(kind: WeightKind, { gateUp, down }: DenseMlpLayout): Generator<LayoutItem> {
  yield* matrixItems(kind, gateUp)
  yield* matrixItems(kind, down)
}

function* matrixItems(kind: WeightKind, { parts }: MatrixLayout): Generator<LayoutItem> {
  for (const part of parts) yield { kind, shape: 'matrix', part }
}

function* vectorItems(kind: WeightKind, vectors: readonly VectorLayout[]): Generator<LayoutItem> {
  for (const vector of vectors) yield { kind, shape: 'vector', vector }
}

function emptyCounts(): Record<WeightKind, number> {
  return {
    embedding: 0,
    attention: 0,
    denseMlp: 0,
    router: 0,
    sharedExperts: 0,
    routedExperts: 0,
    norms: 0,
    head: 0,
  }
}
