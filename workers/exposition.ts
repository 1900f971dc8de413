/**
 * Metrics as Prometheus reads them: text format 0.0.4, one family after the other.
 *
 * It does not know what is measured, nor where figures come from. A client library would keep counters of its own and
 * cannot be given bucket counts, which is how ours arrive.
 */
import assert from 'node:assert/strict'

export const expositionType = 'text/plain; version=0.0.4; charset=utf-8'

export type Labels = Readonly<Record<string, string>>

export interface Sample {
  readonly labels: Labels
  readonly value: number
}

export interface Histogram {
  readonly labels: Labels
  /** Upper bounds, ascending. */
  readonly bounds: readonly number[]
  /** Observations by bucket, one more than bounds: the last is of what exceeds them all. Not cumulative. */
  readonly counts: readonly number[]
  readonly sum: number
}

export type Family = { readonly name: string; readonly help: string } & (
  | { readonly kind: 'gauge' | 'counter'; readonly samples: readonly Sample[] }
  | { readonly kind: 'histogram'; readonly samples: readonly Histogram[] }
)

/** Families without samples are left out. */
export function renderMetrics(families: readonly Family[]): string {
  return families
    .filter(({ samples }) => samples.length > 0)
    .map((family) => [...headerOf(family), ...linesOf(family), ''].join('\n'))
    .join('')
}

function headerOf({ name, help, kind }: Family): string[] {
  assert(/^[a-zA-Z_:][\w:]*$/.test(name), `A metric cannot be called ${name}`)
  return [`# HELP ${name} ${help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')}`, `# TYPE ${name} ${kind}`]
}

function linesOf(family: Family): string[] {
  const { name } = family
  if (family.kind !== 'histogram') return family.samples.map(({ labels, value }) => line(name, labels, value))
  return family.samples.flatMap(({ labels, bounds, counts, sum }) => {
    assert.equal(counts.length, bounds.length + 1, `${name} has a count a bucket`)
    let count = 0
    const buckets = counts.map((ofBucket, index) => {
      count += ofBucket
      return line(`${name}_bucket`, { ...labels, le: numeral(bounds[index] ?? Infinity) }, count)
    })
    return [...buckets, line(`${name}_sum`, labels, sum), line(`${name}_count`, labels, count)]
  })
}

function line(name: string, labels: Labels, value: number): string {
  const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escaped(text)}"`)
  return `${name}${pairs.length === 0 ? '' : `{${pairs.join(',')}}`} ${numeral(value)}`
}

function escaped(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
}

function numeral(value: number): string {
  return value === Infinity ? '+Inf' : String(value)
}
