/**
 * What there is to say of a checkpoint whose headers were read: its shape, its weights by kind and stored format, what is
 * left aside, and what keeps it from being loaded. Pure; it prints nothing.
 */
import { formatName, rowBytes } from '../../gpu-worker/kernels/matrix.ts'
import type { StoredModel } from '../../gpu-worker/model/checkpoint.ts'
import type { ModelConfig } from '../../gpu-worker/model/config.ts'
import {
  itemsOf,
  layoutBytes,
  WEIGHT_KINDS,
  type LayoutItem,
  type WeightKind,
} from '../../gpu-worker/model/layout-sizes.ts'
import type { ModelLayout } from '../../gpu-worker/model/layout.ts'

/** Weights of one kind that are stored alike. */
export interface StoredShare {
  readonly kind: WeightKind
  /** `bf16`, `int4 g32 bf16`. */
  readonly format: string
  readonly weightCount: number
  readonly parameterCount: number
  /** On disk, scales and zero points included. */
  readonly storedBytes: number
  /** As row records on the GPU. */
  readonly gpuBytes: number
}

export interface Account {
  readonly dir: string
  readonly config: ModelConfig
  readonly quantizedBy: 'compressed-tensors' | 'fp8' | null
  readonly fileCount: number
  readonly tensorCount: number
  readonly tensorBytes: number
  readonly parameters: ModelLayout['parameters']
  readonly shares: readonly StoredShare[]
  /** All that loading allocates for weights, routing tables included. */
  readonly gpuBytes: number
  readonly ignored: ModelLayout['ignored']
  readonly warnings: readonly string[]
  /** Why there is no chat with it, as without a tokenizer; null when there is. */
  readonly textProblem: string | null
  /** Empty: it can be loaded. */
  readonly problems: readonly string[]
}

type Model = Pick<StoredModel, 'dir' | 'config' | 'quantization' | 'files' | 'tensors'>

/** `layout` is the whole model's, as far as it could be read; `problems` are all there are. */
export function accountOf(
  { dir, config, quantization, files, tensors }: Model,
  layout: ModelLayout,
  problems: readonly string[],
): Omit<Account, 'textProblem'> {
  return {
    dir,
    config,
    quantizedBy: quantization?.method ?? null,
    fileCount: files.length,
    tensorCount: tensors.size,
    tensorBytes: [...tensors.values()].reduce((sum, { byteLength }) => sum + byteLength, 0),
    parameters: layout.parameters,
    shares: sharesOf(layout, tensors),
    gpuBytes: Object.values(layoutBytes(layout)).reduce((sum, bytes) => sum + bytes, 0),
    ignored: layout.ignored,
    warnings: layout.warnings,
    problems,
  }
}

/** In the order of WEIGHT_KINDS. Weights that are missing count for nothing. */
function sharesOf(layout: ModelLayout, tensors: Model['tensors']): StoredShare[] {
  const shares = new Map<string, StoredShare>()
  /** A fused tensor holds many weights: its bytes count once. */
  const counted = new Set<string>()
  const bytesOf = (name: string): number => {
    const bytes = counted.has(name) ? 0 : (tensors.get(name)?.byteLength ?? 0)
    counted.add(name)
    return bytes
  }
  for (const item of itemsOf(layout)) {
    const { kind } = item
    const { format, names, parameterCount, gpuBytes } = sizesOf(item)
    if (!names.every((name) => tensors.has(name))) continue
    const share = shares.get(`${kind} ${format}`)
    shares.set(`${kind} ${format}`, {
      kind,
      format,
      weightCount: (share?.weightCount ?? 0) + 1,
      parameterCount: (share?.parameterCount ?? 0) + parameterCount,
      storedBytes: names.reduce((sum, name) => sum + bytesOf(name), share?.storedBytes ?? 0),
      gpuBytes: (share?.gpuBytes ?? 0) + gpuBytes,
    })
  }
  return [...shares.values()].toSorted((a, b) => WEIGHT_KINDS.indexOf(a.kind) - WEIGHT_KINDS.indexOf(b.kind))
}

interface ItemSizes {
  readonly format: string
  readonly names: readonly string[]
  readonly parameterCount: number
  readonly gpuBytes: number
}

function sizesOf(item: LayoutItem): ItemSizes {
  if (item.shape === 'vector') {
    const { tensor, width, format } = item.vector
    // A bias is widened to f32.
    const gpuBytes = item.kind === 'norms' ? rowBytes(width, format) : width * 4
    return { format, names: [tensor], parameterCount: width, gpuBytes }
  }
  const { weight, rowCount } = item.part
  const { values, scales, zeroPoints, columnCount, format } = weight
  return {
    format: formatName(format),
    names: [values, scales, zeroPoints].filter((name) => name !== null),
    parameterCount: rowCount * columnCount,
    gpuBytes: rowCount * rowBytes(columnCount, format),
  }
}
