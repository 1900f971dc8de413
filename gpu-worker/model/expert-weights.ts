/**
 * The experts of all layers in banks, and the tables that say where each is.
 *
 * A shared expert that is just like the routed ones lies among them, behind the last. What lies apart has no bank.
 * Where a layer has slots for fewer, its routed experts take turns: their table lies on the GPU as data, which a cache
 * changes (`experts/expert-cache.ts`), and their rows are filled in host memory.
 */
import type { ExpertCache, TakingTurns } from '../experts/expert-cache.ts'
import { NO_BANK, type Bank, type LayerExperts, type Place } from '../kernels/bank.ts'
import { GpuError } from '../gpu/gpu-error.ts'
import { rowBytes, sameFormat } from '../kernels/matrix.ts'
import type { ExpertSlots } from './expert-slots.ts'
import type { ExpertLayout, ExpertMlpLayout, LayerLayout } from './layout.ts'
import { planBanks, type BankPlacement, type ExpertFormats, type ExpertSize } from './placement.ts'
import type { RowSource } from './row-source.ts'
import type { WeightBuffers } from './weight-buffers.ts'

/** A layer whose routed experts take turns, and what their rows are. */
export interface TurnsLayout {
  readonly turns: TakingTurns
  /** The routed ones, by number. */
  readonly layout: readonly ExpertLayout[]
}

/**
 * Pure: throws GpuError 'limit' for an expert that no binding holds. One placement per expert layer, in order: of its
 * experts, or of its slots where there are fewer.
 */
export function placeExperts(
  layers: readonly LayerLayout[],
  size: ExpertSize,
  expertSlots: ExpertSlots,
  bindingBytesMax: number,
): BankPlacement {
  const formats = expertsOf(layers, size).map(({ banked, routedCount }) =>
    inSlots(banked, routedCount, expertSlots).map(formatsOf),
  )
  return planBanks(formats, size, bindingBytesMax)
}

export interface AllocatedExperts {
  readonly experts: LayerExperts
  /** Null where every expert has a slot of its own. */
  readonly turns: TurnsLayout | null
  /** Asks for the rows of the experts that stay where they are. */
  request(): void
}

/** Allocates banks and tables, layer by layer. */
export function allocateExperts(
  layers: readonly LayerLayout[],
  size: ExpertSize,
  expertSlots: ExpertSlots,
  placement: BankPlacement,
  buffers: WeightBuffers,
): AllocatedExperts[] {
  const { hiddenSize, width } = size
  const banks = placement.banks.map(({ gateUpFormat, downFormat, slotCount }, index): Bank => {
    const tall = slotCount * width * rowBytes(hiddenSize, gateUpFormat)
    const wide = slotCount * hiddenSize * rowBytes(width, downFormat)
    return {
      index,
      slotCount,
      gateUpFormat,
      downFormat,
      gate: buffers.allocate(`bank-${index}/gate`, tall),
      up: buffers.allocate(`bank-${index}/up`, tall),
      down: buffers.allocate(`bank-${index}/down`, wide),
    }
  })
  return expertsOf(layers, size).map(({ banked, routedCount, apartCount }, i) => {
    const places = placement.places[i] ?? []
    const used = new Set(places.map(({ bank }) => bank))
    const slotCount = slotCountOf(routedCount, expertSlots)
    const isTakingTurns = slotCount < routedCount
    const staying = banked.slice(isTakingTurns ? routedCount : 0)
    const stayingPlaces = places.slice(isTakingTurns ? slotCount : 0)
    const atFirst = [...nowhere(isTakingTurns ? routedCount : 0), ...stayingPlaces, ...nowhere(apartCount)]
    const table = Uint32Array.from(atFirst.flatMap(({ bank, slot }) => [bank, slot]))
    const experts = {
      expertCount: banked.length + apartCount,
      hiddenSize,
      width,
      banks: banks.filter(({ index }) => used.has(index)),
      places: buffers.table(`experts-${i}/places`, table),
    }
    const turns = { experts, routedCount, slots: places.slice(0, slotCount), staying: stayingPlaces }
    return {
      experts,
      turns: isTakingTurns ? { turns, layout: banked.slice(0, routedCount) } : null,
      request: () => requestExperts(staying, size, stayingPlaces, banks, buffers),
    }
  })
}

function nowhere(count: number): Place[] {
  return Array.from({ length: count }, () => ({ bank: NO_BANK, slot: 0 }))
}

/** Brings the rows of all experts that take turns to where they wait. One call for a model: `cache` has the same layers. */
export async function fillWaiting(
  cache: ExpertCache,
  layers: readonly TurnsLayout[],
  source: RowSource,
): Promise<void> {
  for (const [layer, { layout }] of layers.entries()) {
    for (const [expert, parts] of layout.entries()) {
      const memory = cache.memory(layer, expert)
      for (const name of ['gate', 'up', 'down'] as const) {
        const { weight, rowStart, rowCount } = parts[name]
        await source.rows(weight, rowStart, rowCount, memory[name], 0)
      }
    }
  }
}

function requestExperts(
  experts: readonly ExpertLayout[],
  { hiddenSize, width }: ExpertSize,
  places: readonly Place[],
  banks: readonly Bank[],
  buffers: WeightBuffers,
): void {
  for (const [id, { gate, up, down }] of experts.entries()) {
    const place = places[id]
    const bank = banks[place?.bank ?? -1]
    if (place === undefined || bank === undefined) throw new RangeError(`Expert ${id} has no place`)
    const tall = place.slot * width * rowBytes(hiddenSize, bank.gateUpFormat)
    const wide = place.slot * hiddenSize * rowBytes(width, bank.downFormat)
    buffers.request(gate, bank.gate, tall)
    buffers.request(up, bank.up, tall)
    buffers.request(down, bank.down, wide)
  }
}

/** What has a place in banks: experts, or as many of the routed ones as there are slots, which must be alike. */
function inSlots(banked: readonly ExpertLayout[], routedCount: number, expertSlots: ExpertSlots): ExpertLayout[] {
  const slotCount = slotCountOf(routedCount, expertSlots)
  if (slotCount === routedCount) return [...banked]
  const [first, ...others] = banked.slice(0, routedCount)
  const odd = others.find((other) => first !== undefined && !areAlike(formatsOf(first), formatsOf(other)))
  if (odd !== undefined) {
    throw new GpuError(
      'limit',
      `Experts cannot take turns in slots where they are stored differently: ${odd.gate.weight.name} and the first`,
    )
  }
  return [...banked.slice(0, slotCount), ...banked.slice(routedCount)]
}

function slotCountOf(routedCount: number, expertSlots: ExpertSlots): number {
  return Math.min(routedCount, expertSlots ?? routedCount)
}

function areAlike(left: ExpertFormats, right: ExpertFormats): boolean {
  return sameFormat(left.gateUpFormat, right.gateUpFormat) && sameFormat(left.downFormat, right.downFormat)
}

/**
 * By layer: what lies in banks, in the order of its numbers, how many of them are routed, and how many experts follow that
 * lie in none.
 */
function expertsOf(
  layers: readonly LayerLayout[],
  size: ExpertSize,
): { readonly banked: readonly ExpertLayout[]; readonly routedCount: number; readonly apartCount: number }[] {
  return layers.flatMap((layer) => {
    if (layer.kind !== 'experts') return []
    const { experts, shared } = layer.mlp
    const last = sharedAsExpert(layer.mlp, size)
    const routedCount = experts.length
    if (last !== null) return [{ banked: [...experts, last], routedCount, apartCount: 0 }]
    return [{ banked: experts, routedCount, apartCount: Number(shared !== null) }]
  })
}

/** The layer's shared expert when it is as large as a routed one and stored like the first; null when not. */
export function sharedAsExpert({ experts, shared }: ExpertMlpLayout, { width }: ExpertSize): ExpertLayout | null {
  const [first] = experts
  const [gate, up, ...more] = shared?.gateUp.parts ?? []
  const [down] = shared?.down.parts ?? []
  if (first === undefined || gate === undefined || up === undefined || down === undefined) return null
  const [own, wanted] = [formatsOf({ gate, up, down }), formatsOf(first)]
  const isAlike =
    more.length === 0 &&
    gate.rowCount === width &&
    up.rowCount === width &&
    sameFormat(up.weight.format, own.gateUpFormat) &&
    areAlike(own, wanted)
  return isAlike ? { gate, up, down } : null
}

function formatsOf({ gate, down }: ExpertLayout): ExpertFormats {
  return { gateUpFormat: gate.weight.format, downFormat: down.weight.format }
}
