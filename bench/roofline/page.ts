/**
 * The measured part of docs/performance.md, a section an adapter; what is written by hand around it stays.
 */
import { readFile, writeFile } from 'node:fs/promises'
import type { Figure, Report } from '../report.ts'

const page = new URL('../../docs/performance.md', import.meta.url)

/** Replaces the section of the report's adapter, or appends it. */
export async function writeTable(report: Report): Promise<void> {
  const text = await readFile(page, 'utf8')
  await writeFile(page, withTable(text, report))
}

/** The page with this report's table between its adapter's markers. */
export function withTable(text: string, report: Report): string {
  const [start, end] = [`<!-- measured: ${report.adapter} -->`, `<!-- end: ${report.adapter} -->`]
  const section = `${start}\n\n${table(report)}\n\n${end}`
  const [from, to] = [text.indexOf(start), text.indexOf(end)]
  if (from < 0 || to < from) return `${text.trimEnd()}\n\n${section}\n`
  return text.slice(0, from) + section + text.slice(to + end.length)
}

function table({ adapter, machine, date, notes = [], figures }: Report): string {
  const rows = figures.map(
    (figure) =>
      `| ${figure.name} | ${value(figure)} | ${figure.goal ?? ''}${figure.holds === false ? ': short' : ''} |`,
  )
  return [
    `### ${adapter}`,
    '',
    `${machine}; ${date}. ${notes.join(' ')}`,
    '',
    '| what | measured | goal |',
    '|---|---|---|',
    ...rows,
  ].join('\n')
}

function value({ value: number, unit }: Figure): string {
  return `${Math.abs(number) >= 100 ? number.toFixed(0) : number.toPrecision(3)} ${unit}`
}
