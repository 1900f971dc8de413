/**
 * The routed experts of all layers in banks, and the tables that say where each is.
 *
 * Every expert is resident. A table lies on the GPU as data, so that a cache can change it later.
 */
import type { Bank, LayerExperts } from '../kernels/bank.ts'
import { rowBytes } from '../kernels/matrix.ts'
import type { ExpertLayout, LayerLayout } from './layout.ts'
import { planBanks, type BankPlacement, type ExpertSize } from './placement.ts'
import type { WeightBuffers } from './weight-buffers.ts'

/** Pure: throws GpuError 'limit' for an expert that no binding holds. One placement per expert layer, in order. */
export function placeExperts(layers: readonly LayerLayout[], size: ExpertSize, bindingBytesMax: number): BankPlacement {
  const formats = expertsOf(layers).map((experts) =>
    experts.map(({ gate, down }) => ({ gateUpFormat: gate.weight.format, downFormat: down.weight.format })),
  )
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
  return expertsOf(layers).map((experts, i) => {
    const places = placement.places[i] ?? []
    const used = new Set(places.map(({ bank }) => bank))
    const table = Uint32Array.from(places.flatMap(({ bank, slot }) => [bank, slot]))
    return {
      experts: {
        expertCount: experts.length,
        hiddenSize,
        width,
        banks: banks.filter(({ index }) => used.has(index)),
        places: buffers.table(`experts-${i}/places`, table),
      },
      request: () => requestLayer(experts, size, places, banks, buffers),
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

function expertsOf(layers: readonly LayerLayout[]): (readonly ExpertLayout[])[] {
  return layers.flatMap((layer) => (layer.kind === 'experts' ? [layer.mlp.experts] : []))
}
