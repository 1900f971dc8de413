/**
 * The error a conversion introduced, for people: relative RMS error √(Σ (w − ŵ)² / Σ w²) by kind of module and by layer.
 *
 * It knows modules by name and their sums; it reads no weight.
 */
import type { ModuleError } from './shard-writer.ts'

/** Columns of the table by layer. */
const PARTS = ['attention', 'dense MLP', 'shared experts', 'experts'] as const
type Part = (typeof PARTS)[number]

export interface KindError {
  /** `self_attn.o_proj`, `mlp.experts.down_proj` … */
  readonly kind: string
  readonly moduleCount: number
  readonly relativeError: number
  readonly worst: { readonly module: string; readonly relativeError: number }
}

export interface LayerError {
  readonly layer: number
  /** Null where the layer has no such part, or it was left as stored. */
  readonly parts: Readonly<Record<Part, number | null>>
}

export interface ErrorSummary {
  readonly kinds: readonly KindError[]
  readonly layers: readonly LayerError[]
}

export function summarize(modules: readonly ModuleError[]): ErrorSummary {
  const kinds = Map.groupBy(modules, ({ module }) => kindOf(module))
  const layers = Map.groupBy(modules, ({ module }) => layerOf(module))
  return {
    kinds: [...kinds].map(([kind, group]) => ({
      kind,
      moduleCount: group.length,
      relativeError: relativeError(group),
      worst: worstOf(group),
    })),
    layers: [...layers].toSorted(([a], [b]) => a - b).map(([layer, group]) => ({ layer, parts: partErrors(group) })),
  }
}

/** The tables as text. */
export function errorTables({ kinds, layers }: ErrorSummary): string {
  const width = Math.max(...kinds.map(({ kind }) => kind.length))
  const byKind = kinds.map(({ kind, moduleCount, relativeError: error, worst }) => {
    const name = worst.module.replace('model.layers.', '')
    return `${kind.padEnd(width)}  ${String(moduleCount).padStart(6)}  ${percent(error)}  ${percent(worst.relativeError)}  ${name}`
  })
  const used = PARTS.filter((part) => layers.some(({ parts }) => parts[part] !== null))
  const byLayer = layers.map(({ layer, parts }) =>
    [String(layer).padStart(5), ...used.map((part) => cell(parts[part]).padStart(part.length))].join('  '),
  )
  return [
    'Relative RMS error of the weights, by kind, and the worst module of each',
    `${'kind'.padEnd(width)}   count    error    worst  in`,
    ...byKind,
    '',
    'By layer',
    ['layer', ...used].join('  '),
    ...byLayer,
  ].join('\n')
}

function partErrors(group: readonly ModuleError[]): Record<Part, number | null> {
  const of = (part: Part): number | null => {
    const modules = group.filter(({ module }) => partOf(module) === part)
    return modules.length === 0 ? null : relativeError(modules)
  }
  return {
    attention: of('attention'),
    'dense MLP': of('dense MLP'),
    'shared experts': of('shared experts'),
    experts: of('experts'),
  }
}

function relativeError(modules: readonly ModuleError[]): number {
  let [errorSquares, valueSquares] = [0, 0]
  for (const module of modules) {
    errorSquares += module.errorSquares
    valueSquares += module.valueSquares
  }
  return valueSquares === 0 ? 0 : Math.sqrt(errorSquares / valueSquares)
}

function worstOf(modules: readonly ModuleError[]): KindError['worst'] {
  let worst = { module: '', relativeError: -1 }
  for (const entry of modules) {
    const error = relativeError([entry])
    if (error > worst.relativeError) worst = { module: entry.module, relativeError: error }
  }
  return worst
}

function kindOf(module: string): string {
  return module.replace(/^model\.layers\.\d+\./, '').replace(/\.experts\.\d+\./, '.experts.')
}

function layerOf(module: string): number {
  return Number(/^model\.layers\.(\d+)\./.exec(module)?.[1])
}

function partOf(module: string): Part {
  if (module.includes('.self_attn.')) return 'attention'
  if (module.includes('.shared_experts.')) return 'shared experts'
  return module.includes('.experts.') ? 'experts' : 'dense MLP'
}

function percent(ratio: number): string {
  return `${(ratio * 100).toFixed(3)} %`
}

function cell(ratio: number | null): string {
  return ratio === null ? '–' : percent(ratio)
}
