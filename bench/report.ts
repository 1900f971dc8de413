/**
 * What a benchmark says: figures with units on a named machine, as a table for people or one JSON object for programs.
 *
 * It measures nothing. A goal is literally an issue's; a figure without a goal is reported, not judged.
 */
import { cpus, totalmem } from 'node:os'

export interface Figure {
  readonly name: string
  readonly value: number
  readonly unit: string
  /** As the issue words it, e.g. `≤ 10`. */
  readonly goal?: string
  readonly holds?: boolean
}

export interface Report {
  readonly bench: string
  readonly machine: string
  readonly adapter: string
  /** ISO day. */
  readonly date: string
  /** What a reader must know to read the figures, line by line. */
  readonly notes?: readonly string[]
  readonly figures: readonly Figure[]
}

/** This machine lacks what the bench needs; the message says what would help. */
export class CannotMeasure extends Error {
  override readonly name: string = 'CannotMeasure'
}

const bytesPerGib = 2 ** 30

export function machineName(): string {
  const processors = cpus()
  return `${processors[0]?.model.trim() ?? 'unknown processor'}, ${processors.length} CPUs, ${Math.round(totalmem() / bytesPerGib)} GiB, Node ${process.versions.node}`
}

/** Prints the report and sets exit code 1 when a goal falls short. */
export function printReport(report: Report, isJson: boolean): void {
  console.log(`\n${report.bench} · ${report.date}\n${report.machine}\n${report.adapter}\n`)
  if (report.notes !== undefined) console.log(`${report.notes.join('\n')}\n`)
  const width = Math.max(...report.figures.map((figure) => figure.name.length))
  for (const figure of report.figures) {
    const judged =
      figure.goal === undefined ? '' : `   goal ${figure.goal}: ${figure.holds === true ? 'holds' : 'FALLS SHORT'}`
    console.log(`  ${figure.name.padEnd(width)}  ${formatValue(figure.value).padStart(10)} ${figure.unit}${judged}`)
  }
  if (isJson) console.log(`\n${JSON.stringify(report)}`)
  if (report.figures.some((figure) => figure.holds === false)) process.exitCode = 1
}

/** The value below which `share` (0 … 1) of the samples lie: nearest rank. */
export function percentile(samples: readonly number[], share: number): number {
  const sorted = samples.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(share * sorted.length) - 1))] ?? Number.NaN
}

function formatValue(value: number): string {
  return Number.isInteger(value) || Math.abs(value) >= 1000 ? value.toFixed(0) : value.toPrecision(3)
}
