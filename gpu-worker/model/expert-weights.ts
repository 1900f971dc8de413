/**
 * The experts of all layers in banks, and the tables that say where each is.
 *
 * A shared expert that is just like the routed ones lies among them, behind the last. What lies apart has no bank.
 * Every expert is resident. A table lies on the GPU as data, so that a cache can change it later.
 */
import type { Bank, LayerExperts } from '../kernels/bank.ts'
import { rowBytes, sameFormat } from '../kernels/matrix.ts'
import type { ExpertLayout, ExpertMlpLayout, LayerLayout } from './layout.ts'
import { planBanks, type BankPlacement, type ExpertFormats, type ExpertSize } from './placement.ts'
import type { WeightBuffers } from './weight-buffers.ts'

/** Pure: throws GpuError 'limit' for an expert that no binding holds. One placement per expert layer, in order. */
export function placeExperts(layers: readonly LayerLayout[], size: ExpertSize, bindingBytesMax: number): BankPlacement {
  const formats = expertsOf(layers, size).map(({ banked }) => banked.map(formatsOf))
  return planBanks(formats, size, bindingBytesMax)
}

/** Allocates banks and tables; the experts' rows are asked for by `request` of what is returned, layer by layer. */
export function allocateExperts(
  layers: readonly LayerLayout[],
  size: ExpertSize,
  placement: BankPlacement,
  buffers: WeightBuffers,
): { readonly experts: LayerExperts; request(): void }[] {
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
  return expertsOf(layers, size).map(({ banked, apartCount }, i) => {
    const places = placement.places[i] ?? []
    const used = new Set(places.map(({ bank }) => bank))
    const apart = Array.from({ length: apartCount }, () => ({ bank: NO_BANK, slot: 0 }))
    const table = Uint32Array.from([...places, ...apart].flatMap(({ bank, slot }) => [bank, slot]))
    return {
      experts: {
        expertCount: banked.length + apartCount,
        hiddenSize,
        width,
        banks: banks.filter(({ index }) => used.has(index)),
        places: buffers.table(`experts-${i}/places`, table),
      },
      request: () => requestLayer(banked, size, places, banks, buffers),
    }
  })
}

function requestLayer(
  experts: readonly ExpertLayout[],
  { hiddenSize, width }: ExpertSize,
  places: BankPlacement['places'][number],
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

/** In no table of banks: an expert there is left to other dispatches. */
const NO_BANK = 0xffffffff

/** By layer: what lies in banks, in the order of its numbers, and how many experts follow that do not. */
function expertsOf(
  layers: readonly LayerLayout[],
  size: ExpertSize,
): { readonly banked: readonly ExpertLayout[]; readonly apartCount: number }[] {
  return layers.flatMap((layer) => {
    if (layer.kind !== 'experts') return []
    const { experts, shared } = layer.mlp
    const last = sharedAsExpert(layer.mlp, size)
    if (last !== null) return [{ banked: [...experts, last], apartCount: 0 }]
    return [{ banked: experts, apartCount: Number(shared !== null) }]
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
    sameFormat(own.gateUpFormat, wanted.gateUpFormat) &&
    sameFormat(own.downFormat, wanted.downFormat)
  return isAlike ? { gate, up, down } : null
}

function formatsOf({ gate, down }: ExpertLayout): ExpertFormats {
  return { gateUpFormat: gate.weight.format, downFormat: down.weight.format }
}
