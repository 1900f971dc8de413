/**
 * The books against each other: every bill against the log it is for, the sums by the minute against the bills, what
 * each tenant's counters say against the bills of the month.
 *
 *     token logs still kept ── bills in D1 ∪ rows that wait to be drained ── month's spend in Redis
 *                                   │
 *                              sums by the minute
 *
 * Counters are compared as of one moment; what ended later is left out. It knows no HTTP and repairs nothing.
 */
import { recordTtlMs } from '../../contract/limits.ts'
import { costNano } from '../../contract/money.ts'
import { monthBounds, monthOf } from '../../contract/month.ts'
import { costOf, sumKey, type Bill, type MinuteSum } from './bill.ts'
import type { CellBooks, Counters, KeptJob } from './cell-books.ts'
import type { Ledger } from './ledger.ts'

/** One thing that is not as it must be. */
export interface Finding {
  /** A job, a minute or a tenant. */
  readonly of: string
  readonly what: string
  readonly booked: number
  readonly counted: number
}

export interface Reconciliation {
  readonly billsInD1: number
  readonly billsUndrained: number
  /** Ended jobs whose logs are still kept. */
  readonly logs: number
  readonly minutes: number
  /** Counters of the present month that were compared. */
  readonly counters: number
  readonly openJobs: number
  readonly tokens: number
  readonly costNano: number
  readonly findings: readonly Finding[]
  /** Tokens by which books differ, added up without regard to sign. */
  readonly differenceTokens: number
}

export interface Books {
  readonly ledger: Ledger
  readonly cell: CellBooks
  readonly jobs: AsyncIterable<KeptJob>
  /** From here on bills were read, Unix ms. */
  readonly fromMs: number
  /** Null: all. */
  readonly tenant: string | null
}

const tokenCounts = ['input_tokens', 'input_cached_tokens', 'output_tokens', 'output_reasoning_tokens'] as const
/** Logs may expire while the books are read. */
const readingMs = 10 * 60_000

export async function reconcile({ ledger, cell, jobs, fromMs, tenant }: Books): Promise<Reconciliation> {
  const isOurs = (of: string, endedAtMs: number) =>
    (tenant === null || of === tenant) && endedAtMs >= fromMs && endedAtMs <= cell.atMs
  const undrained = cell.undrained.filter((bill) => isOurs(bill.project_id, bill.ended_at_ms))
  const drained = ledger.bills.filter((bill) => bill.ended_at_ms <= cell.atMs)
  const findings: Finding[] = []
  const bills = unite(drained, undrained, findings)

  const found = new Set<string>()
  for await (const job of jobs) {
    if (!isOurs(job.tenant, job.endedAtMs)) continue
    found.add(job.jobId)
    findings.push(...compareJob(job, bills.get(job.jobId)))
  }
  for (const { job_id: of, ended_at_ms } of bills.values()) {
    const mustBeKept = ended_at_ms > cell.atMs - recordTtlMs + readingMs
    if (mustBeKept && !found.has(of)) findings.push({ of, what: 'logs', booked: 1, counted: 0 })
  }
  // The sums hold what ended since, too, and so does what they are compared with.
  findings.push(...compareMinutes(ledger.minutes, ledger.bills))
  const month = monthOf(cell.atMs)
  const monthStartMs = monthBounds(month).fromMs
  const counters = cell.counters.filter((of) => tenant === null || of.tenant === tenant)
  const counted = fromMs <= monthStartMs ? counters.filter((of) => of.month === month) : []
  findings.push(...compareSpend(counted, bills.values(), monthStartMs))
  if (cell.openCount === 0) {
    for (const { tenant: of, held } of counters) {
      if (held !== 0) findings.push({ of, what: 'held though nothing is open', booked: held, counted: 0 })
    }
  }
  const all = [...bills.values()]
  return {
    billsInD1: drained.length,
    billsUndrained: undrained.length,
    logs: found.size,
    minutes: ledger.minutes.length,
    counters: counted.length,
    openJobs: cell.openCount,
    tokens: all.reduce((sum, bill) => sum + bill.input_tokens + bill.output_tokens, 0),
    costNano: all.reduce((sum, bill) => sum + costOf(bill), 0),
    findings,
    differenceTokens: findings
      .filter(({ what }) => what.endsWith('_tokens'))
      .reduce((sum, finding) => sum + Math.abs(finding.booked - finding.counted), 0),
  }
}

/** All bills by job. A row stays in the stream until its insert is acknowledged: then both sides have it, the same. */
function unite(drained: readonly Bill[], undrained: readonly Bill[], findings: Finding[]): Map<string, Bill> {
  const bills = new Map(drained.map((bill) => [bill.job_id, bill]))
  const waiting = new Set<string>()
  for (const row of undrained) {
    const booked = bills.get(row.job_id)
    if (booked !== undefined && JSON.stringify(booked) !== JSON.stringify(row)) {
      findings.push({ of: row.job_id, what: 'unlike its row', booked: costOf(booked), counted: costOf(row) })
    }
    if (waiting.has(row.job_id)) findings.push({ of: row.job_id, what: 'rows', booked: 2, counted: 1 })
    waiting.add(row.job_id)
    bills.set(row.job_id, booked ?? row)
  }
  return bills
}

function compareJob({ jobId, tenant, status, price, recount }: KeptJob, bill: Bill | undefined): Finding[] {
  if (recount === null) return [{ of: jobId, what: 'readable logs', booked: 1, counted: 0 }]
  const findings: Finding[] = []
  const compare = (what: string, booked: number, counted: number) => {
    if (booked !== counted) findings.push({ of: jobId, what, booked, counted })
  }
  const tokens = {
    input_tokens: recount.promptTokens,
    input_cached_tokens: recount.cachedTokens,
    output_tokens: recount.completionTokens,
    output_reasoning_tokens: recount.reasoningTokens,
  }
  compare('bills', bill === undefined ? 0 : 1, 1)
  for (const name of tokenCounts) compare(name, bill?.[name] ?? 0, tokens[name])
  if (bill === undefined) return findings
  compare(`bills of tenant ${tenant}, ${status}`, Number(bill.project_id === tenant && bill.status === status), 1)
  const isBilled = status !== 'failed' && (status !== 'expired' || recount.completionTokens > 0)
  const nano = (count: number, micro: number) => (isBilled ? costNano(count, micro) : 0)
  const uncached = recount.promptTokens - recount.cachedTokens
  compare('input_nano', bill.input_nano, nano(uncached, price.inputMicro))
  compare('cached_input_nano', bill.cached_input_nano, nano(recount.cachedTokens, price.cachedInputMicro))
  compare('output_nano', bill.output_nano, nano(recount.completionTokens, price.outputMicro))
  return findings
}

function compareMinutes(minutes: readonly MinuteSum[], bills: readonly Bill[]): Finding[] {
  const names = [...tokenCounts, 'num_model_requests'] as const
  const totals = new Map<string, Record<(typeof names)[number], number>>()
  for (const bill of bills) {
    const key = sumKey(Math.floor(bill.ended_at_ms / 60_000) * 60, bill)
    const total = totals.get(key) ?? nothing()
    for (const name of tokenCounts) total[name] += bill[name]
    total.num_model_requests += 1
    totals.set(key, total)
  }
  const findings: Finding[] = []
  const sums = new Map(minutes.map((sum) => [sumKey(sum.start_time, sum), sum]))
  for (const key of new Set([...sums.keys(), ...totals.keys()])) {
    const [booked, counted] = [sums.get(key) ?? nothing(), totals.get(key) ?? nothing()]
    for (const what of names) {
      if (booked[what] === counted[what]) continue
      findings.push({ of: `minute ${key}`, what, booked: booked[what], counted: counted[what] })
    }
  }
  return findings
}

function nothing() {
  return {
    input_tokens: 0,
    input_cached_tokens: 0,
    output_tokens: 0,
    output_reasoning_tokens: 0,
    num_model_requests: 0,
  }
}

function compareSpend(counters: readonly Counters[], bills: Iterable<Bill>, fromMs: number): Finding[] {
  const spent = new Map<string, number>()
  for (const bill of bills) {
    if (bill.ended_at_ms < fromMs) continue
    spent.set(bill.project_id, (spent.get(bill.project_id) ?? 0) + costOf(bill))
  }
  return counters.flatMap(({ tenant, spentNano }) => {
    const counted = spent.get(tenant) ?? 0
    return counted === spentNano ? [] : [{ of: tenant, what: 'spent_nano', booked: spentNano, counted }]
  })
}
