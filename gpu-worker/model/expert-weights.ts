/**
 * The routed experts of all layers in banks, and the table that says where each is.
 *
 * Every expert is resident. The table lies on the GPU as data, so that a cache can change it later.
 */
import type { Buffers } from '../gpu/buffers.ts'
import type { Bank, LayerExperts } from '../kernels/bank.ts'
import { rowBytes, type PlainFormat } from '../kernels/matrix.ts'
import type { ModelConfig } from './config.ts'
import { planBanks } from './placement.ts'
import type { TensorRows, WeightLoader } from './weight-loader.ts'

/** One entry per expert layer, in order. */
export async function loadExperts(
  config: ModelConfig,
  loader: WeightLoader,
  buffers: Buffers,
): Promise<LayerExperts[]> {
  const { hiddenSize, moeIntermediateSize: width, routedExpertCount: expertCount } = config
  const sources = Array.from({ length: config.layerCount - config.denseLayerCount }, (_, i) =>
    expertSources(config, loader, `model.layers.${config.denseLayerCount + i}.mlp.experts`),
  )
  const formats = sources.map((source) => source.format)
  const plan = planBanks(formats, expertCount, { hiddenSize, width }, loader.bindingBytesMax)
  const banks = plan.banks.map(({ format, slotCount }, index): Bank => {
    const tall = slotCount * width * rowBytes(hiddenSize, format)
    const wide = slotCount * hiddenSize * rowBytes(width, format)
    return {
      index,
      slotCount,
      gateUpFormat: format,
      downFormat: format,
      gate: buffers.storage(`bank-${index}/gate`, tall),
      up: buffers.storage(`bank-${index}/up`, tall),
      down: buffers.storage(`bank-${index}/down`, wide),
    }
  })
  const layers: LayerExperts[] = []
  for (const [i, source] of sources.entries()) {
    const places = plan.places[i] ?? []
    for (const [expert, { bank: index, slot }] of places.entries()) {
      const bank = banks[index]
      if (bank === undefined) throw new RangeError(`No bank ${index}`)
      const { format } = source
      const tall = slot * width * rowBytes(hiddenSize, format)
      const wide = slot * hiddenSize * rowBytes(width, format)
      await loader.rows(source.gate(expert), hiddenSize, { slice: bank.gate, format, offset: tall })
      await loader.rows(source.up(expert), hiddenSize, { slice: bank.up, format, offset: tall })
      await loader.rows(source.down(expert), width, { slice: bank.down, format, offset: wide })
    }
    const table = Uint32Array.from(places.flatMap(({ bank, slot }) => [bank, slot]))
    const used = new Set(places.map(({ bank }) => bank))
    layers.push({
      expertCount,
      hiddenSize,
      width,
      banks: banks.filter((bank) => used.has(bank.index)),
      places: await loader.table(`layer-${i}/places`, table),
    })
  }
  return layers
}

interface ExpertSources {
  readonly format: PlainFormat
  gate(expert: number): TensorRows
  up(expert: number): TensorRows
  down(expert: number): TensorRows
}

function expertSources(config: ModelConfig, loader: WeightLoader, prefix: string): ExpertSources {
  const { hiddenSize, moeIntermediateSize: width, routedExpertCount: experts } = config
  const gateUp = `${prefix}.gate_up_proj`
  if (loader.has(gateUp)) {
    const half = (expert: number, which: 0 | 1): TensorRows => ({
      tensor: gateUp,
      tensorRowCount: experts * 2 * width,
      rowStart: (2 * expert + which) * width,
      rowCount: width,
    })
    return {
      format: loader.format(gateUp, [experts, 2 * width, hiddenSize]),
      gate: (expert) => half(expert, 0),
      up: (expert) => half(expert, 1),
      down: (expert) => ({
        tensor: `${prefix}.down_proj`,
        tensorRowCount: experts * hiddenSize,
        rowStart: expert * hiddenSize,
        rowCount: hiddenSize,
      }),
    }
  }
  return {
    format: loader.format(`${prefix}.0.gate_proj.weight`, [width, hiddenSize]),
    gate: (expert) => ({ tensor: `${prefix}.${expert}.gate_proj.weight`, tensorRowCount: width }),
    up: (expert) => ({ tensor: `${prefix}.${expert}.up_proj.weight`, tensorRowCount: width }),
    down: (expert) => ({ tensor: `${prefix}.${expert}.down_proj.weight`, tensorRowCount: hiddenSize }),
  }
}
