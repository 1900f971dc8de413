/**
 * A gateway whose D1 holds five bills known to the token: both sides of a month's edge, two tenants, three keys, both
 * modes, two tiers, one failure.
 *
 * It has no Redis: usage is told without one. Asked as an admin unless a key is given.
 */
import { OpenAI } from 'openai'
import { afterAll, beforeAll } from 'vitest'
import { z } from 'zod'
import { insertUsage } from '../../edge/usage/drain.ts'
import type { UsageRow } from '../../edge/usage/usage-row.ts'
import { startTestEdge, type TestEdge } from '../fixtures/edge.ts'

export const dayMs = 86_400_000
export const firstOfMarchMs = Date.UTC(2026, 2, 1)
const at = (dayOffset: number, ms = 0) => firstOfMarchMs + dayOffset * dayMs + ms
/** Unix seconds of a day's beginning, counted from the first of March 2026. */
export const dayStart = (dayOffset: number) => at(dayOffset) / 1_000

export const billedRows: readonly UsageRow[] = [
  row(1, { endedAtMs: at(0, -1), inputTokens: 10, cachedTokens: 4, outputTokens: 5, inputNano: 6, outputNano: 50 }),
  row(2, { endedAtMs: at(0), inputTokens: 20, outputTokens: 7, reasoningTokens: 3, isThinking: true, outputNano: 70 }),
  row(3, {
    endedAtMs: at(0, 59_999),
    keyId: 'key00002',
    inputTokens: 30,
    outputTokens: 9,
    inputNano: 30,
    tier: 'flex',
  }),
  row(4, { endedAtMs: at(0, 60_000), tenantId: 'tenant-2', keyId: 'key00003', inputTokens: 40, outputTokens: 11 }),
  row(5, { endedAtMs: at(1, -1), status: 'failed', inputTokens: 50, outputTokens: 1 }),
]

function row(number: number, changes: Partial<UsageRow>): UsageRow {
  return {
    streamId: `${number}-0`,
    jobId: `job-${number}`,
    tenantId: 'tenant-1',
    keyId: 'key00001',
    model: 'axle/model',
    isThinking: false,
    tier: 'default',
    status: 'completed',
    inputTokens: 0,
    cachedTokens: 0,
    outputTokens: 0,
    reasoningTokens: 0,
    inputNano: 0,
    cachedNano: 0,
    outputNano: 0,
    admittedAtMs: firstOfMarchMs - dayMs,
    endedAtMs: firstOfMarchMs,
    ...changes,
  }
}

const errorBody = z.object({ error: z.object({ code: z.string(), param: z.string().nullable() }) })
export const bucketPage = z.object({
  data: z.array(z.object({ start_time: z.number(), results: z.array(z.record(z.string(), z.unknown())) })),
  has_more: z.boolean(),
  next_page: z.string().nullable(),
})

export class UsageBench {
  #edge: TestEdge | null = null

  /** Registers itself with the test file that calls it. */
  static forThisFile(): UsageBench {
    const bench = new UsageBench()
    beforeAll(async () => {
      bench.#edge = await startTestEdge('redis://127.0.0.1:1')
      await bench.edge.database.exec("INSERT INTO tenants (id, name, created_at_ms) VALUES ('tenant-1', 'One', 0)")
      await insertUsage(bench.edge.database, billedRows)
    }, 60_000)
    afterAll(() => bench.edge.stop())
    return bench
  }

  get edge(): TestEdge {
    if (this.#edge === null) throw new TypeError('The bench stands once the first test begins')
    return this.#edge
  }

  get admin(): OpenAI {
    const { url, adminKey } = this.edge
    return new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', adminAPIKey: adminKey, maxRetries: 0 })
  }

  /** @param path from `/v1/organization/` on. */
  get(path: string, key = this.edge.adminKey, headers: Record<string, string> = {}): Promise<Response> {
    return this.edge.send(`/v1/organization/${path}`, { headers: { authorization: `Bearer ${key}`, ...headers } })
  }

  async refusalOf(path: string): Promise<[status: number, code: string, param: string | null]> {
    const response = await this.get(path)
    const { error } = errorBody.parse(await response.json())
    return [response.status, error.code, error.param]
  }

  /** Of all buckets of one page. */
  async results(path: string, key?: string): Promise<Record<string, unknown>[]> {
    const response = await this.get(path, key)
    return bucketPage.parse(await response.json()).data.flatMap((bucket) => bucket.results)
  }
}
