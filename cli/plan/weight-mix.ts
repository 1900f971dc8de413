/**
 * The weights of a layout by kind and stored format, counted for a plan.
 *
 * Every byte is what serving allocates (`model/layout-sizes.ts`). Knows no device.
 */
import { formatName, rowBytes, type WeightFormat } from '../../gpu-worker/kernels/matrix.ts'
import { itemsOf, layoutBytes, type LayoutItem, type WeightKind } from '../../gpu-worker/model/layout-sizes.ts'
import type { ModelLayout } from '../../gpu-worker/model/layout.ts'

/** Weights of one kind stored alike. */
export interface WeightShare {
  readonly kind: WeightKind
  readonly format: string
  readonly parameters: number
  readonly bytes: number
}

/** Largest first. Their bytes sum up to `layoutBytes`. */
export function weightMix(layout: ModelLayout): WeightShare[] {
  const shares = new Map<string, { -readonly [K in keyof WeightShare]: WeightShare[K] }>()
  const left = { ...layoutBytes(layout) }
  for (const item of itemsOf(layout)) {
    const { kind } = item
    const { format, rowCount, columnCount } = rowsOf(item)
    const name = formatName(format)
    const share = shares.get(`${kind} ${name}`) ?? { kind, format: name, parameters: 0, bytes: 0 }
    shares.set(`${kind} ${name}`, share)
    // The router's bias lies on the GPU in a table of its own, counted below.
    const bytes = kind === 'router' && item.shape === 'vector' ? 0 : rowCount * rowBytes(columnCount, format)
    share.parameters += rowCount * columnCount
    share.bytes += bytes
    left[kind] -= bytes
  }
  // What belongs to a kind without being a weight of the checkpoint: the routers' tables.
  for (const share of shares.values()) {
    share.bytes += left[share.kind]
    left[share.kind] = 0
  }
  return [...shares.values()].toSorted((a, b) => b.bytes - a.bytes)
}

function rowsOf(item: LayoutItem): {
  readonly format: WeightFormat
  readonly rowCount: number
  readonly columnCount: number
} {
  if (item.shape === 'vector') return { format: item.vector.format, rowCount: 1, columnCount: item.vector.width }
  const { weight, rowCount } = item.part
  return { format: weight.format, rowCount, columnCount: weight.columnCount }
}
