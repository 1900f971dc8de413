/** The formats that most bytes of routed experts, and of all other weights of a step, are stored in. */
import { formatName, isPlain, rowBytes, type WeightFormat } from '../../gpu-worker/kernels/matrix.ts'
import { itemsOf } from '../../gpu-worker/model/layout-sizes.ts'
import type { ModelLayout } from '../../gpu-worker/model/layout.ts'
import type { FormatKind } from './devices.ts'

export function partFormats(layout: ModelLayout): { readonly experts: WeightFormat; readonly rest: WeightFormat } {
  const rest = mostOf(layout, (kind) => kind !== 'routedExperts' && kind !== 'embedding') ?? 'bf16'
  return { experts: mostOf(layout, (kind) => kind === 'routedExperts') ?? rest, rest }
}

export function kindOf(format: WeightFormat): FormatKind {
  return isPlain(format) ? format : format.kind
}

function mostOf(layout: ModelLayout, isCounted: (kind: string) => boolean): WeightFormat | null {
  const counts = new Map<string, { readonly format: WeightFormat; bytes: number }>()
  for (const item of itemsOf(layout)) {
    if (item.shape !== 'matrix' || !isCounted(item.kind)) continue
    const { format, columnCount } = item.part.weight
    const count = counts.get(formatName(format)) ?? { format, bytes: 0 }
    count.bytes += item.part.rowCount * rowBytes(columnCount, format)
    counts.set(formatName(format), count)
  }
  return [...counts.values()].toSorted((a, b) => b.bytes - a.bytes)[0]?.format ?? null
}
