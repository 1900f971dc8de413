/** D1's side of the books, over the API: the bills and the sums by the minute, as they stood together. */
import { z } from 'zod'
import type { AdminApi } from '../admin-api.ts'
import { bill, minuteSum, type Bill, type MinuteSum } from './bill.ts'

export interface Ledger {
  readonly bills: readonly Bill[]
  readonly minutes: readonly MinuteSum[]
}

const attemptsMax = 5
const bucketsMax = 1_440
const minutePage = z.object({
  data: z.array(z.object({ start_time: z.int(), results: z.array(minuteSum) })),
  next_page: z.string().nullable(),
})

export interface Range {
  /** Unix seconds, whole minutes; end exclusive. */
  readonly start: number
  readonly end: number
  /** Null: all. */
  readonly tenant: string | null
}

/** Reads the sums before and behind the bills until no drain came between. @throws Error when one always does. */
export async function readLedger(api: AdminApi, range: Range): Promise<Ledger> {
  const query = {
    start_time: range.start,
    end_time: range.end,
    ...(range.tenant === null ? {} : { project_ids: [range.tenant] }),
  }
  let before = await readMinutes(api, query)
  for (let attempt = 0; attempt < attemptsMax; attempt++) {
    const bills = await api.list('/v1/organization/usage/jobs', bill, query)
    const behind = await readMinutes(api, query)
    if (JSON.stringify(before) === JSON.stringify(behind)) return { bills, minutes: behind }
    before = behind
  }
  throw new Error(`Usage was drained during each of ${attemptsMax} readings: choose a shorter time with --from`)
}

async function readMinutes(api: AdminApi, query: Readonly<Record<string, number | string[]>>): Promise<MinuteSum[]> {
  const minutes: MinuteSum[] = []
  let page: string | undefined
  do {
    const { data, next_page } = await api.get('/v1/organization/usage/completions', minutePage, {
      ...query,
      bucket_width: '1m',
      limit: bucketsMax,
      group_by: ['project_id', 'api_key_id', 'model', 'mode', 'service_tier'],
      page,
    })
    minutes.push(...data.flatMap(({ start_time, results }) => results.map((result) => ({ start_time, ...result }))))
    page = next_page ?? undefined
  } while (page !== undefined)
  return minutes
}
