/**
 * What a tenant's month has cost, where Redis does not know it (any more): told to its counters, once.
 *
 * D1 has what was drained, the usage stream what was not; a row may be in both while it is being drained, and counts
 * once. It knows neither budgets nor who asks.
 */
import type { Redis } from 'ioredis'
import { AppError } from '../../contract/errors.ts'
import { keys } from '../../contract/keys.ts'
import { drainPageRows } from '../../contract/limits.ts'
import { monthBounds } from '../../contract/month.ts'
import { usageStart } from '../../contract/scripts.ts'
import { answerOf, lookupDeadlineMs } from '../d1/answer.ts'
import { logError } from '../log.ts'
import { monthSpendNano } from '../usage/month-spend.ts'
import { decodeUsageRow } from '../usage/usage-row.ts'
import type { Connection } from './redis-link.ts'

/** Fit D1's 2 MB a value; the drain, oldest rows first, takes fewer within the deadline. */
const jobIdsMax = 50_000

/** @throws AppError queue_unavailable when D1 is away: a budget that cannot be kept admits nothing. */
export async function seedSpend(
  { redis, scripts }: Pick<Connection, 'redis' | 'scripts'>,
  db: D1Database,
  tenantId: string,
  month: number,
): Promise<void> {
  // The stream first: what leaves it meanwhile is in D1 before, and is told apart by its job.
  const undrained = await undrainedSpend(redis, tenantId, month)
  const drainedNano = await drained(db, tenantId, month, undrained.jobIds)
  await scripts.seedSpend(tenantId, month, undrained.nano + drainedNano, undrained.readTo)
}

async function drained(db: D1Database, tenantId: string, month: number, without: readonly string[]): Promise<number> {
  try {
    return await answerOf(monthSpendNano(db, tenantId, month, without), lookupDeadlineMs)
  } catch (cause) {
    logError('month-spend-unreadable', cause)
    throw new AppError('queue_unavailable', "The project's spend cannot be read right now. Try again shortly.", {
      cause,
      retryAfterMs: 1_000,
    })
  }
}

interface Undrained {
  readonly nano: number
  readonly jobIds: readonly string[]
  /** Id of the newest row looked at. */
  readonly readTo: string
}

/** A row that cannot be read is left to the drain, which sets it aside. */
async function undrainedSpend(redis: Redis, tenantId: string, month: number): Promise<Undrained> {
  const { fromMs, toMs } = monthBounds(month)
  const jobIds: string[] = []
  let nano = 0
  let readTo = usageStart
  for (;;) {
    const page = await redis.xrange(keys.usage, `(${readTo}`, '+', 'COUNT', drainPageRows)
    const last = page.at(-1)
    if (last === undefined) return { nano, jobIds, readTo }
    readTo = last[0]
    for (const [streamId, flat] of page) {
      const row = readable(streamId, flat)
      if (row?.tenantId !== tenantId || row.endedAtMs < fromMs || row.endedAtMs >= toMs) continue
      nano += row.inputNano + row.cachedNano + row.outputNano
      if (jobIds.length < jobIdsMax) jobIds.push(row.jobId)
    }
  }
}

function readable(streamId: string, flat: string[]) {
  try {
    return decodeUsageRow(streamId, flat)
  } catch {
    return null
  }
}
