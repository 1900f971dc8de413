/**
 * Redis' side of the books: at one moment the rows that wait to be drained and what each tenant's counters say, and
 * then every job whose log is still kept, recounted from the log's own entries.
 */
import type { Redis } from 'ioredis'
import { z } from 'zod'
import { decodeStreamEntry, type LogEntry, type Usage } from '../../contract/event.ts'
import { parseJobId } from '../../contract/ids.ts'
import { isEnd, jobStatuses } from '../../contract/job.ts'
import { jobKeyPrefix, keys } from '../../contract/keys.ts'
import type { TokenPrice } from '../../contract/money.ts'
import { decodeUsageRow } from '../../edge/usage/usage-row.ts'
import { billOfRow, type Bill } from './bill.ts'

/** More than a minute's usage by far: so many rows wait only where nobody drains them. */
const undrainedMax = 100_000
const scanCount = 1_000

export interface Counters {
  readonly tenant: string
  /** As 202611; 0: no budget was ever looked at, and spend is not counted. */
  readonly month: number
  readonly spentNano: number
  /** Open jobs, queued jobs, queued tokens and reserved nano-USD together: 0 or not. */
  readonly held: number
}

export interface CellBooks {
  /** Of all that follows but the kept jobs: ms of the scripts' clock. */
  readonly atMs: number
  readonly undrained: readonly Bill[]
  readonly openCount: number
  readonly counters: readonly Counters[]
}

/** @throws Error when more waits to be drained than one reading takes. */
export async function readCellBooks(redis: Redis): Promise<CellBooks> {
  const quotaKeys: string[] = []
  for await (const found of scan(redis, keys.quota('*'))) quotaKeys.push(...found)
  const transaction = redis
    .multi()
    .time()
    .get(keys.clockOffset)
    .xrange(keys.usage, '-', '+', 'COUNT', undrainedMax + 1)
    .zcard(keys.open)
    .hget(keys.cell, 'generation')
  for (const key of quotaKeys) transaction.hgetall(key)
  const replies = await results(transaction)
  const [time, offset, rows, openCount, generation, ...quotas] = z
    .tuple(
      [pair, z.string().nullable(), streamRows, z.number(), z.string().nullable()],
      z.record(z.string(), z.string()),
    )
    .parse(replies)
  if (rows.length > undrainedMax) {
    throw new Error(`More than ${undrainedMax} usage rows wait to be drained: is the gateway's cron running?`)
  }
  return {
    atMs: time[0] * 1_000 + Math.floor(time[1] / 1_000) + Number(offset ?? 0),
    undrained: rows.flatMap(([id, flat]) => readRow(id, flat)),
    openCount,
    counters: quotas.map((quota, index) => countersOf(tenantOf(quotaKeys[index] ?? ''), quota, generation ?? '0')),
  }
}

/** One that cannot be read is none: its job is told as one without a bill. */
function readRow(id: string, flat: readonly string[]): Bill[] {
  try {
    return [billOfRow(decodeUsageRow(id, flat))]
  } catch (error) {
    if (error instanceof z.ZodError) return []
    throw error
  }
}

const pair = z.tuple([z.coerce.number(), z.coerce.number()])
const streamRows = z.array(z.tuple([z.string(), z.array(z.string())]))

/** Counts of another generation than the cell's are 0, as in the scripts. */
function countersOf(tenant: string, quota: Readonly<Record<string, string>>, generation: string): Counters {
  const value = (name: string) => Number(quota[name] ?? 0)
  const isCurrent = quota['generation'] === generation
  const held = ['openJobs', 'queuedJobs', 'queuedTokens', 'reservedNano'].reduce((sum, name) => sum + value(name), 0)
  return { tenant, month: value('month'), spentNano: value('spentNano'), held: isCurrent ? held : 0 }
}

function tenantOf(quotaKey: string): string {
  return quotaKey.slice(keys.quota('').length)
}

/** An ended job by its record and its log alone. */
export interface KeptJob {
  readonly jobId: string
  readonly tenant: string
  readonly status: string
  readonly endedAtMs: number
  readonly price: TokenPrice
  /** Null: the log cannot be read. */
  readonly recount: Usage | null
}

/** Ended jobs that Redis still has, in no order. */
export async function* keptJobs(redis: Redis): AsyncGenerator<KeptJob> {
  for await (const found of scan(redis, `${jobKeyPrefix}*`)) {
    const jobIds = found.flatMap((key) => parseJobId(key.slice(jobKeyPrefix.length)) ?? [])
    const pipeline = redis.pipeline()
    for (const jobId of jobIds) pipeline.hmget(keys.job(jobId), ...recordFields).xrange(keys.log(jobId), '-', '+')
    const replies = await pipeline.exec()
    for (const [index, jobId] of jobIds.entries()) {
      const [, record] = replies?.[2 * index] ?? []
      const [, log] = replies?.[2 * index + 1] ?? []
      const parsed = recordOf.safeParse(record)
      if (!parsed.success) continue // expired meanwhile, or not ended
      const { tenant, status, endedAtMs, ...price } = parsed.data
      yield { jobId, tenant, status, endedAtMs, price, recount: recountOf(log) }
    }
  }
}

const recordFields = ['tenantId', 'status', 'endedAtMs', 'priceInput', 'priceCached', 'priceOutput'] as const
const whole = z.string().regex(/^\d+$/).transform(Number)
const recordOf = z
  .tuple([z.string(), z.enum(jobStatuses).refine(isEnd), whole, whole, whole, whole])
  .transform(([tenant, status, endedAtMs, inputMicro, cachedInputMicro, outputMicro]) => ({
    tenant,
    status,
    endedAtMs,
    inputMicro,
    cachedInputMicro,
    outputMicro,
  }))

function recountOf(log: unknown): Usage | null {
  const rows = streamRows.safeParse(log)
  if (!rows.success) return null
  try {
    return recountLog(rows.data.map((row) => decodeStreamEntry(row).entry))
  } catch {
    return null // an entry that is none of ours: the job is told as unreadable
  }
}

/**
 * Tokens one by one: of the prompt as the last start says, of the answer as they stand there. How much of the prompt
 * was found in the cache is written in the end alone.
 *
 * @returns null for a log without an end
 */
export function recountLog(entries: readonly LogEntry[]): Usage | null {
  let [promptTokens, completionTokens, reasoningTokens] = [0, 0, 0]
  for (const entry of entries) {
    switch (entry.kind) {
      case 'start':
        promptTokens = entry.promptTokens
        break
      case 'token':
        completionTokens += entry.tokenIds.length
        if (entry.channel === 'reasoning') reasoningTokens += entry.tokenIds.length
        break
      case 'end':
        return { promptTokens, cachedTokens: entry.usage.cachedTokens, completionTokens, reasoningTokens }
      default:
        return entry satisfies never
    }
  }
  return null
}

/** Keys that match, some at a time, each once. */
async function* scan(redis: Redis, pattern: string): AsyncGenerator<string[]> {
  const seen = new Set<string>()
  let cursor = '0'
  do {
    const [next, found] = await redis.scan(cursor, 'MATCH', pattern, 'COUNT', scanCount)
    cursor = next
    const fresh = [...new Set(found)].filter((key) => !seen.has(key))
    for (const key of fresh) seen.add(key)
    yield fresh
  } while (cursor !== '0')
}

async function results(transaction: ReturnType<Redis['multi']>): Promise<unknown[]> {
  const replies = (await transaction.exec()) ?? []
  return replies.map(([error, reply]) => {
    if (error !== null) throw error
    return reply
  })
}
