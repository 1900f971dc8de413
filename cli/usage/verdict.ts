/** What a reconciliation found, for a person: what was compared, and each thing that differs. */
import { usdText } from '../../contract/money.ts'
import { facts, table } from '../admin/table.ts'
import type { Reconciliation } from './reconcile.ts'

const findingsShown = 50

export function verdictOf(found: Reconciliation): string {
  const { findings, differenceTokens } = found
  const shown = findings
    .slice(0, findingsShown)
    .map(({ of, what, booked, counted }) => [of, what, number(booked), number(counted)])
  const hidden = findings.length - shown.length
  return [
    facts([
      ['bills in D1', number(found.billsInD1)],
      ['bills not yet drained', number(found.billsUndrained)],
      ['token logs recounted', number(found.logs)],
      ['sums by the minute', number(found.minutes)],
      ['counters of the month', number(found.counters)],
      ['requests open', number(found.openJobs)],
      ['tokens billed', number(found.tokens)],
      ['cost', `$${usdText(found.costNano)}`],
    ]),
    ...(shown.length === 0 ? [] : ['', table(['OF', 'WHAT', 'BOOKED', 'COUNTED'], shown, '')]),
    ...(hidden > 0 ? [`and ${number(hidden)} more`] : []),
    '',
    `difference ${number(differenceTokens)} tokens, ${number(findings.length)} findings`,
  ].join('\n')
}

function number(value: number): string {
  return value.toLocaleString('en')
}
