/**
 * What a tenant's month has cost by D1: the drained part of its bill.
 *
 * It knows neither the usage stream nor budgets.
 */
import { z } from 'zod'
import { monthBounds } from '../../contract/month.ts'

const minuteMs = 60_000

const query = `SELECT
  (SELECT coalesce(sum(input_nano + cached_nano + output_nano), 0) FROM usage_minutes
    WHERE tenant_id = ?1 AND minute >= ?2 AND minute < ?3)
  - (SELECT coalesce(sum(input_nano + cached_nano + output_nano), 0) FROM usage_jobs
    WHERE job_id IN (SELECT value FROM json_each(?4)) AND tenant_id = ?1
      AND ended_at_ms >= ?2 * ${minuteMs} AND ended_at_ms < ?3 * ${minuteMs}) AS spentNano`

const row = z.object({ spentNano: z.int().nonnegative() })

/**
 * Nano-USD of the jobs that ended in a UTC month.
 *
 * @param month as 202611
 * @param without ids of jobs that the caller counts itself
 */
export async function monthSpendNano(
  db: D1Database,
  tenantId: string,
  month: number,
  without: readonly string[] = [],
): Promise<number> {
  const { fromMs, toMs } = monthBounds(month)
  const minutes = [fromMs / minuteMs, toMs / minuteMs]
  const answer = await db
    .prepare(query)
    .bind(tenantId, ...minutes, JSON.stringify(without))
    .first()
  return row.parse(answer).spentNano
}
