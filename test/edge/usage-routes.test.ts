/** Usage and costs over HTTP, against rows known to the token: JSON as the OpenAI SDK reads it, CSV, pages, who sees what. */
import { randomBytes } from 'node:crypto'
import { OpenAI } from 'openai'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { newKey, parseKey } from '../../contract/key-format.ts'
import { keyDigest } from '../../edge/auth/digest.ts'
import { insertUsage } from '../../edge/usage/drain.ts'
import type { UsageRow } from '../../edge/usage/usage-row.ts'
import { startTestEdge, testPepper, type TestEdge } from '../fixtures/edge.ts'

let edge: TestEdge
let admin: OpenAI
let usageKey = ''

/** 2026-03-01 00:00 UTC. */
const dayMs = 86_400_000
const firstOfMarchMs = Date.UTC(2026, 2, 1)
const at = (dayOffset: number, ms = 0) => firstOfMarchMs + dayOffset * dayMs + ms
const seconds = (ms: number) => ms / 1_000
const february28 = seconds(at(-1))
const march2 = seconds(at(1))

/** Rows in both halves of a month's edge, two projects, two keys, two modes, two tiers. */
const rows: readonly UsageRow[] = [
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

beforeAll(async () => {
  edge = await startTestEdge('redis://127.0.0.1:1')
  admin = new OpenAI({ baseURL: `${edge.url}/v1`, apiKey: 'none', adminAPIKey: edge.adminKey, maxRetries: 0 })
  await edge.database.exec("INSERT INTO tenants (id, name, created_at_ms) VALUES ('tenant-1', 'One', 0)")
  usageKey = newKey('live', randomBytes)
  await edge.database
    .prepare(
      `INSERT INTO api_keys (id, tenant_id, kind, name, digest, pepper_id, scopes, created_at_ms)
       VALUES (?, 'tenant-1', 'live', 'usage', ?, 'p1', '["usage"]', 0)`,
    )
    .bind(parseKey(usageKey)?.id, keyDigest(usageKey, testPepper))
    .run()
  await insertUsage(edge.database, rows)
}, 60_000)
afterAll(() => edge.stop())

const errorBody = z.object({ error: z.object({ code: z.string(), param: z.string().nullable() }) })

function get(path: string, key = edge.adminKey, headers: Record<string, string> = {}): Promise<Response> {
  return edge.send(`/v1/organization/${path}`, { headers: { authorization: `Bearer ${key}`, ...headers } })
}

async function refusalOf(path: string): Promise<[number, string, string | null]> {
  const response = await get(path)
  const { error } = errorBody.parse(await response.json())
  return [response.status, error.code, error.param]
}

const bucketPage = z.object({
  data: z.array(z.object({ start_time: z.number(), results: z.array(z.record(z.string(), z.unknown())) })),
  has_more: z.boolean(),
  next_page: z.string().nullable(),
})

async function results(path: string, key?: string): Promise<Record<string, unknown>[]> {
  const response = await get(path, key)
  return bucketPage.parse(await response.json()).data.flatMap((bucket) => bucket.results)
}

async function inputOf(filter: string): Promise<unknown[]> {
  const path = `usage/completions?start_time=${february28}&end_time=${march2}&${filter}`
  return (await results(path)).map((result) => result['input_tokens'])
}

/** So many keys that used something in one minute. */
async function fill(minute: number, keyCount: number): Promise<void> {
  await edge.database.exec(
    `INSERT INTO usage_minutes WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${keyCount}) SELECT ${minute}, 'tenant-1', 'k' || i, 'crowd', 0, 'default', 1, 1, 0, 1, 0, 0, 0, 0 FROM n`,
  )
}

describe('usage/completions', () => {
  it('tells whole UTC days with all counts, empty days too, as the SDK reads them', async () => {
    const page = await admin.admin.organization.usage.completions({
      start_time: seconds(at(-2)) + 5,
      end_time: march2,
    })
    expect(page).toMatchObject({ object: 'page', has_more: false, next_page: null })
    expect(page.data.map((bucket) => [bucket.start_time, bucket.end_time])).toEqual(
      [-2, -1, 0].map((day) => [seconds(at(day)), seconds(at(day + 1))]),
    )
    const nothing = { project_id: null, user_id: null, api_key_id: null, model: null, batch: null, mode: null }
    expect(page.data.map((bucket) => bucket.results)).toEqual([
      [],
      [
        {
          object: 'organization.usage.completions.result',
          input_tokens: 10,
          input_cached_tokens: 4,
          input_uncached_tokens: 6,
          output_tokens: 5,
          output_reasoning_tokens: 0,
          num_model_requests: 1,
          service_tier: null,
          ...nothing,
        },
      ],
      [
        {
          object: 'organization.usage.completions.result',
          input_tokens: 140,
          input_cached_tokens: 0,
          input_uncached_tokens: 140,
          output_tokens: 28,
          output_reasoning_tokens: 3,
          num_model_requests: 4,
          service_tier: null,
          ...nothing,
        },
      ],
    ])
  })

  it('by minute: a row counts in the minute it ended in, the last millisecond included', async () => {
    const path = `usage/completions?start_time=${seconds(at(0)) - 60}&end_time=${seconds(at(0)) + 120}&bucket_width=1m`
    expect((await results(path)).map((result) => [result['input_tokens'], result['num_model_requests']])).toEqual([
      [10, 1],
      [50, 2],
      [40, 1],
    ])
  })

  it('groups by every field, and names only the fields it was asked to group by', async () => {
    const page = await admin.admin.organization.usage.completions({
      start_time: february28,
      end_time: march2,
      group_by: ['project_id', 'api_key_id', 'model', 'batch', 'service_tier'],
    })
    const found = page.data.flatMap((bucket) => bucket.results)
    expect(found).toHaveLength(4)
    expect(found).toMatchObject([
      { project_id: 'tenant-1', api_key_id: 'key00001', model: 'axle/model', batch: false, service_tier: 'default' },
      { api_key_id: 'key00001', input_tokens: 70, num_model_requests: 2, mode: null },
      { api_key_id: 'key00002', service_tier: 'flex', input_tokens: 30 },
      { project_id: 'tenant-2', input_tokens: 40 },
    ])
    const byMode = await results(`usage/completions?start_time=${february28}&end_time=${march2}&group_by=mode`)
    expect(byMode).toMatchObject([
      { mode: 'non-think', output_tokens: 5 },
      { mode: 'non-think', output_tokens: 21 },
      { mode: 'think', output_tokens: 7, output_reasoning_tokens: 3, model: null },
    ])
  })

  it('filters by project, key, model and batch', async () => {
    expect(await inputOf('project_ids[]=tenant-2')).toEqual([40])
    expect(await inputOf('project_ids=tenant-2&project_ids=tenant-1')).toEqual([10, 140])
    expect(await inputOf('api_key_ids[]=key00002&api_key_ids[]=key00003')).toEqual([70])
    expect(await inputOf('models[]=other')).toEqual([])
    expect(await inputOf('batch=true')).toEqual([])
    expect(await inputOf('batch=false')).toEqual([10, 140])
  })

  it('pages: all pages together are the whole, bucket by bucket', async () => {
    const range = `usage/completions?start_time=${february28}&end_time=${march2}&bucket_width=1h`
    const whole = bucketPage.parse(await (await get(`${range}&limit=168`)).json())
    const starts: number[] = []
    let next: string | null = ''
    while (next !== null) {
      const path: string = `${range}&limit=10${next === '' ? '' : `&page=${next}`}`
      const page = bucketPage.parse(await (await get(path)).json())
      expect(page.has_more).toBe(page.next_page !== null)
      starts.push(...page.data.map((bucket) => bucket.start_time))
      next = page.next_page
    }
    expect(starts).toHaveLength(48)
    expect(starts).toEqual(whole.data.map((bucket) => bucket.start_time))
  })

  it('ends a page early where it would grow beyond bounds, and refuses a bucket that does alone', async () => {
    await fill(0, 6_000)
    await fill(1, 6_000)
    await fill(2, 10_001)
    const path = 'usage/completions?end_time=180&bucket_width=1m&group_by[]=api_key_id'
    const first = bucketPage.parse(await (await get(`${path}&start_time=0`)).json())
    expect(first.data.map((bucket) => bucket.results.length)).toEqual([6_000])
    const second = bucketPage.parse(await (await get(`${path}&start_time=0&page=${first.next_page}`)).json())
    expect(second.data.map((bucket) => bucket.results.length)).toEqual([6_000])
    expect(second.next_page).toBe('page_2')
    expect(await refusalOf(`${path}&start_time=120`)).toEqual([400, 'invalid_value', 'group_by'])
  })

  it.each([
    ['', 'missing_required_parameter', 'start_time'],
    ['start_time=1780000000000', 'invalid_value', 'start_time'],
    ['start_time=-1', 'invalid_value', 'start_time'],
    ['start_time=100&start_time=200', 'invalid_type', 'start_time'],
    ['start_time=100&end_time=100', 'contradictory_parameters', 'end_time'],
    ['start_time=100&bucket_width=2d', 'invalid_value', 'bucket_width'],
    ['start_time=100&limit=0', 'invalid_value', 'limit'],
    ['start_time=100&limit=32', 'invalid_value', 'limit'],
    ['start_time=100&bucket_width=1m&limit=1441', 'invalid_value', 'limit'],
    ['start_time=100&group_by[]=user_id', 'invalid_value', 'group_by[0]'],
    ['start_time=100&batch=1', 'invalid_value', 'batch'],
    ['start_time=100&page=page_1', 'invalid_value', 'page'],
    ['start_time=100&page=x', 'invalid_value', 'page'],
    ['start_time=100&__proto__=x', 'unknown_parameter', '__proto__'],
    ['start_time=100&user_ids[]=x', 'unknown_parameter', 'user_ids'],
  ])('refuses %j as %s', async (parameters, code, param) => {
    expect(await refusalOf(`usage/completions?${parameters}`)).toEqual([400, code, param])
  })
})

describe('costs', () => {
  it('are exact to the nano-dollar by day, as the SDK reads them', async () => {
    const page = await admin.admin.organization.usage.costs({ start_time: february28, end_time: march2 })
    const amounts = page.data.map((bucket) => bucket.results)
    const rest = { line_item: null, project_id: null, api_key_id: null, quantity: null, quantity_unit: null }
    const object = 'organization.costs.result'
    expect(amounts).toEqual([
      [{ object, amount: { value: 5.6e-8, currency: 'usd' }, ...rest }],
      [{ object, amount: { value: 1e-7, currency: 'usd' }, ...rest }],
    ])
  })

  it('by line item tell what was used of each, cached input apart', async () => {
    const items = await results(
      `costs?start_time=${february28}&end_time=${seconds(at(0))}&group_by[]=line_item&group_by[]=project_id`,
    )
    expect(items.map((item) => [item['line_item'], item['quantity'], item['amount'], item['project_id']])).toEqual([
      ['axle/model, input_tokens', 6, { value: 6e-9, currency: 'usd' }, 'tenant-1'],
      ['axle/model, cached_input_tokens', 4, { value: 0, currency: 'usd' }, 'tenant-1'],
      ['axle/model, output_tokens', 5, { value: 5e-8, currency: 'usd' }, 'tenant-1'],
    ])
  })

  it('take days only', async () => {
    expect(await refusalOf('costs?start_time=100&bucket_width=1h')).toEqual([400, 'invalid_value', 'bucket_width'])
  })
})

const jobList = z.object({
  data: z.array(z.record(z.string(), z.unknown())),
  first_id: z.string().nullable(),
  last_id: z.string().nullable(),
  has_more: z.boolean(),
})

describe('usage/jobs', () => {
  it('lists every job with its bill, page by page, in the order of their ends', async () => {
    const found: Record<string, unknown>[] = []
    let after = ''
    for (let hasMore = true; hasMore;) {
      const page = jobList.parse(await (await get(`usage/jobs?start_time=0&limit=2${after}`)).json())
      expect([page.first_id, page.last_id]).toEqual([page.data[0]?.['job_id'], page.data.at(-1)?.['job_id']])
      found.push(...page.data)
      after = `&after=${page.last_id}`
      hasMore = page.has_more
    }
    expect(found.map((job) => job['job_id'])).toEqual(rows.map((each) => each.jobId))
    expect(found[0]).toEqual({
      object: 'organization.usage.job',
      job_id: 'job-1',
      project_id: 'tenant-1',
      api_key_id: 'key00001',
      model: 'axle/model',
      mode: 'non-think',
      service_tier: 'default',
      status: 'completed',
      input_tokens: 10,
      input_cached_tokens: 4,
      output_tokens: 5,
      output_reasoning_tokens: 0,
      input_nano: 6,
      cached_input_nano: 0,
      output_nano: 50,
      cost_nano: 56,
      admitted_at_ms: firstOfMarchMs - dayMs,
      ended_at_ms: firstOfMarchMs - 1,
    })
  })

  it('refuses a place in the list that is not known', async () => {
    expect(await refusalOf('usage/jobs?start_time=0&after=job-99')).toEqual([400, 'invalid_value', 'after'])
  })
})

describe('CSV', () => {
  it('has the rows of the JSON answer, by parameter or by Accept header', async () => {
    const path = `usage/completions?start_time=${february28}&end_time=${march2}&group_by[]=project_id&group_by[]=mode`
    const response = await get(path, edge.adminKey, { accept: 'text/csv' })
    expect(response.headers.get('content-type')).toBe('text/csv; charset=utf-8; header=present')
    const text = await response.text()
    expect(text.split('\r\n')).toEqual([
      'start_time,end_time,project_id,api_key_id,model,mode,batch,service_tier,num_model_requests,input_tokens,input_cached_tokens,input_uncached_tokens,output_tokens,output_reasoning_tokens',
      `${february28},${seconds(at(0))},tenant-1,,,non-think,,,1,10,4,6,5,0`,
      `${seconds(at(0))},${march2},tenant-1,,,non-think,,,2,80,0,80,10,0`,
      `${seconds(at(0))},${march2},tenant-1,,,think,,,1,20,0,20,7,3`,
      `${seconds(at(0))},${march2},tenant-2,,,non-think,,,1,40,0,40,11,0`,
      '',
    ])
    expect(await (await get(`${path}&format=csv`)).text()).toBe(text)
  })

  it('quotes what holds a comma, keeps every digit of an amount, and names the next page in a header', async () => {
    const path = `costs?start_time=${february28}&end_time=${march2}&group_by[]=line_item&limit=1&format=csv`
    const response = await get(path)
    expect(response.headers.get('x-next-page')).toBe(`page_${seconds(at(0)) / 60}`)
    expect((await response.text()).split('\r\n')[1]).toBe(
      `${february28},${seconds(at(0))},,,"axle/model, input_tokens",6,tokens,0.000000006`,
    )
  })
})

describe("a tenant's key", () => {
  it('sees its own project, and of others what it sees of a random id', async () => {
    const range = `start_time=${february28}&end_time=${march2}`
    const own = await results(`usage/completions?${range}&group_by[]=project_id`, usageKey)
    expect(new Set(own.map((result) => result['project_id']))).toEqual(new Set(['tenant-1']))
    expect(await results(`costs?${range}&group_by[]=project_id`, usageKey)).toHaveLength(2)
    for (const route of ['usage/completions', 'costs', 'usage/jobs']) {
      const other = await (await get(`${route}?${range}&project_ids[]=tenant-2`, usageKey)).text()
      const random = await (await get(`${route}?${range}&project_ids[]=proj_x`, usageKey)).text()
      expect([route, other]).toEqual([route, random])
    }
    const jobs = jobList.parse(await (await get('usage/jobs?start_time=0', usageKey)).json())
    expect(jobs.data.map((job) => job['job_id'])).toEqual(['job-1', 'job-2', 'job-3', 'job-5'])
    const strange = await Promise.all(
      ['job-4', 'job-x'].map(async (id) => (await get(`usage/jobs?start_time=0&after=${id}`, usageKey)).text()),
    )
    expect(strange[0]).toBe(strange[1])
  })

  it('without the scope usage sees nothing', async () => {
    const key = newKey('live', randomBytes)
    await edge.database
      .prepare(
        `INSERT INTO api_keys (id, tenant_id, kind, name, digest, pepper_id, scopes, created_at_ms)
         VALUES (?, 'tenant-1', 'live', 'inference', ?, 'p1', '["inference"]', 0)`,
      )
      .bind(parseKey(key)?.id, keyDigest(key, testPepper))
      .run()
    expect((await get('costs?start_time=0', key)).status).toBe(403)
  })
})
